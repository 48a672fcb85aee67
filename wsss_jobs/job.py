"""A job from its recipe to its results: the steps behind `wsss run`, `plan`, `status` and the others."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import yaml

from cluster.resources import choose_device
from cluster.session import connect
from cluster.submit import own_submission_id
from cluster.usage_metrics import UsageMetrics
from wsss_jobs.config.assets import store_assets
from wsss_jobs.config.recipe import Recipe
from wsss_jobs.dataset_cache import IndexedDataset, indexed_dataset
from wsss_jobs.datasets.records import Dataset
from wsss_jobs.errors import DataError
from wsss_jobs.executor import RunContext, run_plan
from wsss_jobs.job_identity import identity_of, recipe_sha256
from wsss_jobs.job_progress import new_driver_id
from wsss_jobs.observer import ObserverGroup, RunObserver
from wsss_jobs.pipeline import Plan, build_plan
from wsss_jobs.progress_publisher import ProgressPublisher
from wsss_jobs.run_store import open_run_store
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.versions import installed_versions


@dataclass(frozen=True)
class PreparedJob:
    """A recipe with all that can be known before anything runs.

    Attributes:
        store: The run's folder.
        rejected: Images that the index left out, with the reason.
    """

    recipe: Recipe
    store: ObjectStore
    dataset: Dataset
    rejected: tuple[DataError, ...]
    plan: Plan


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        num_failed: Images without a mask, those that the index rejected included.
    """

    num_items: int
    num_failed: int


def prepare(
    recipe: Recipe, on_index: Callable[[int, int], None] | None = None, indexed: IndexedDataset | None = None
) -> PreparedJob:
    """Returns the job: data set indexed, weights stored by content, plan made.

    Args:
        indexed: The recipe's data set, where another recipe of the same run has indexed it already.

    Raises:
        ConfigError, DataError, StorageError: What is wrong, before anything has started.
    """
    store = open_run_store(recipe.store, recipe.run)
    stages = tuple(replace(entry, config=store_assets(entry.config, store)) for entry in recipe.stages)
    indexed = indexed or indexed_dataset(recipe.dataset, store, on_index)
    plan = build_plan(stages, indexed.dataset.fingerprint, recipe.seed)
    return PreparedJob(recipe, store, indexed.dataset, indexed.rejected, plan)


def run_job(
    job: PreparedJob, observer: RunObserver, *, address: str | None = None, retry_failed: bool = False
) -> RunResult:
    """Runs what is left to do."""
    recipe = job.recipe
    write_job_file(job)
    with connect(address) as session:
        choice = choose_device(recipe.resources.device, session.resources())
        observer.message(f"device {choice.device}: {choice.why}")
        if session.dashboard_url:
            observer.message(f"dashboard {session.dashboard_url}")
        driver_id, usage_metrics = new_driver_id(), UsageMetrics(recipe.run)
        with ProgressPublisher(
            job.store,
            identity_of(recipe, job.store.uri),
            driver_id,
            device=choice.device,
            submission_id=own_submission_id(os.environ),
            num_present=session.present,
            on_usage=lambda usage: usage_metrics.held(usage.cpu_s, usage.gpu_s),
        ) as publisher:
            run = RunContext(
                plan=job.plan,
                dataset=job.dataset,
                store=job.store,
                session=session,
                device=choice.device,
                seed=recipe.seed,
                resources=recipe.resources,
                error_budget=recipe.error_budget,
                observer=ObserverGroup([observer, publisher]),
                retry_failed=retry_failed,
                pack_masks=recipe.store.masks == "packed",
                driver_id=driver_id,
            )
            num_failed = run_plan(run)
    return RunResult(len(job.dataset.items) + len(job.rejected), num_failed + len(job.rejected))


def write_job_file(job: PreparedJob) -> None:
    """Writes the resolved recipe, its digest and the versions that run it to `jobs/<recipe>.yaml`."""
    content: dict[str, Any] = {
        "recipe": json.loads(json.dumps(job.recipe.content, default=str)),
        "recipe_sha256": recipe_sha256(job.recipe),
        "dataset_fingerprint": job.dataset.fingerprint,
        "stages": [
            {"name": stage.name, "fingerprint": stage.fingerprint, "config": stage.config.model_dump(mode="json")}
            for stage in job.plan.stages
        ],
        "versions": installed_versions(),
    }
    job.store.put(f"jobs/{job.recipe.name}.yaml", yaml.safe_dump(content, sort_keys=False).encode())
