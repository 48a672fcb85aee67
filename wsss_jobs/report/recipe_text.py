"""The recipe with every default filled in, as text."""

import json
from typing import Any

import yaml

from wsss_jobs.job import PreparedJob


def resolved_recipe(job: PreparedJob) -> str:
    """Returns the recipe of a job as YAML, each stage with all its settings and its fingerprint."""
    content: dict[str, Any] = {key: value for key, value in job.recipe.content.items() if key != "stages"}
    content["stages"] = [
        {
            "stage": stage.spec.NAME,
            "name": stage.name,
            "fingerprint": stage.fingerprint,
            "inputs": dict(stage.inputs),
            **stage.config.model_dump(mode="json"),
        }
        for stage in job.plan.stages
    ]
    plain = json.loads(json.dumps(content, default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
