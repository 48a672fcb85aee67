"""A recipe: data set, store, resources, and the list of stages. One YAML file a published variant."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wsss_jobs.config.overrides import apply_overrides
from wsss_jobs.config.sections import SECTIONS, StageSection
from wsss_jobs.config.validation import validated
from wsss_jobs.config.yaml_files import parse_yaml
from wsss_jobs.datasets.config import DatasetConfig
from wsss_jobs.errors import ConfigError
from wsss_jobs.stages.base import StageConfig, StageResources, StageSpec
from wsss_jobs.stages.registry import STAGES

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_STAGE_KEYS = ("stage", "name", "inputs", "resources")


class JobResources(BaseModel):
    """Where the job runs.

    Attributes:
        device: `auto` takes CUDA where the cluster has it; on a remote cluster without GPUs, `cpu` has to be said.
        first_worker_timeout_s: How long a stage waits for its first worker (an autoscaler may have to start a node).
        max_in_flight_items: Items between the first and the last step at any time; None: from the pools' sizes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = "auto"
    first_worker_timeout_s: float = Field(default=900, gt=0)
    max_in_flight_items: int | None = Field(default=None, ge=1)


class StoreSettings(BaseModel):
    """Where results go.

    Attributes:
        uri: A folder, or `s3://bucket/prefix`. Endpoint and credentials by the usual AWS chain and variables.
        masks: `objects`: a PNG file each. `packed`: when a stage is complete, its PNGs go into Parquet files of about
            64 MB, for data sets whose hundred thousands of objects nobody wants to list.
        encryption: On S3: `default` as the bucket is set up, `s3` (SSE-S3) or `kms` (SSE-KMS).
        kms_key_id: With `kms`: id, ARN or alias of the key; None is AWS's own key for S3.
        max_attempts: On S3: tries of one request, the first included.
        read_timeout_s: On S3: longest silence within an answer; then the try counts as failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = "runs"
    masks: Literal["objects", "packed"] = "objects"
    encryption: Literal["default", "s3", "kms"] = "default"
    kms_key_id: str | None = None
    max_attempts: int = Field(default=5, ge=1, le=20)
    read_timeout_s: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _encryption_of_s3(self) -> Self:
        if self.encryption != "default" and not self.uri.startswith("s3://"):
            raise ValueError(f"encryption: {self.encryption} is for s3:// stores; {self.uri} is as its disk is")
        if self.kms_key_id is not None and self.encryption != "kms":
            raise ValueError("kms_key_id: set encryption: kms as well")
        return self


class _Header(BaseModel):
    """What a recipe holds beside its stages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    run: str | None = None
    seed: int = Field(default=0, ge=0, lt=2**31)
    dataset: DatasetConfig
    store: StoreSettings = Field(default_factory=StoreSettings)
    resources: JobResources = Field(default_factory=JobResources)
    error_budget: float = Field(default=0.01, ge=0, le=1)
    stages: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True)
class StageEntry:
    """One stage of a recipe.

    Attributes:
        name: Unique within the recipe; results lie under it.
        spec: The stage.
        config: Its settings.
        inputs: Port name -> name of the stage that feeds it, where the recipe says so.
        resources: What a worker takes.
    """

    name: str
    spec: type[StageSpec]
    config: StageConfig
    inputs: Mapping[str, str]
    resources: StageResources


@dataclass(frozen=True)
class Recipe:
    """A validated recipe.

    Attributes:
        run: Folder of this run in the store; several recipes may share it, and then share equal stages.
        error_budget: Share of failed items above which the job stops.
        content: What the recipe file said after `--set`, for `job.yaml`.
    """

    name: str
    run: str
    seed: int
    dataset: DatasetConfig
    store: StoreSettings
    resources: JobResources
    error_budget: float
    stages: tuple[StageEntry, ...]
    content: Mapping[str, Any]


def load_recipe(source: str, overrides: Iterable[str] = ()) -> Recipe:
    """Returns the recipe of a file, or a shipped one by name, with `--set` values applied.

    Raises:
        ConfigError: No such recipe, or something in it is wrong.
    """
    return parse_recipe(parse_yaml(_read(source), source), overrides)


def parse_recipe(content: Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """Returns the recipe that a mapping describes."""
    changed = apply_overrides(dict(content), overrides)
    header = validated(_Header, changed, path="")
    run = header.run or header.name
    for key, value in (("name", header.name), ("run", run)):
        if not _NAME.fullmatch(value):
            raise ConfigError(f"{key}: use lower-case letters, digits, '_' and '-' only (found {value!r})")
    stages = tuple(stage for index, entry in enumerate(header.stages) for stage in _stage_entries(index, entry))
    _check_names(stages)
    return Recipe(
        header.name,
        run,
        header.seed,
        header.dataset,
        header.store,
        header.resources,
        header.error_budget,
        stages,
        changed,
    )


def shipped_recipes() -> dict[str, Path]:
    """Returns the recipes that come with the package, by name."""
    folder = Path(str(resources.files("wsss_jobs") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _read(source: str) -> str:
    path = Path(source)
    shipped = shipped_recipes()
    if path.suffix not in {".yaml", ".yml"} and source in shipped:
        path = shipped[source]
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"recipe {source!r}: no such file ({error.strerror}); shipped: {', '.join(shipped)}"
        ) from error


def _stage_entries(index: int, entry: Mapping[str, Any]) -> list[StageEntry]:
    """Returns the stages that an entry stands for: itself, or those of a section."""
    kind = entry.get("stage")
    if not isinstance(kind, str) or kind not in SECTIONS:
        return [_stage_entry(index, entry)]
    name = _stage_name(index, entry)
    settings = {key: value for key, value in entry.items() if key not in ("stage", "name")}
    section: StageSection = validated(SECTIONS[kind], settings, f"stages.{name}")
    return [_stage_entry(index, each) for each in section.entries(name)]


def _stage_name(index: int, entry: Mapping[str, Any]) -> str:
    name = entry.get("name", entry["stage"])
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"stages.{index}.name: use lower-case letters, digits, '_' and '-' only (found {name!r})")
    return name


def _stage_entry(index: int, entry: Mapping[str, Any]) -> StageEntry:
    kind = entry.get("stage")
    if not isinstance(kind, str) or kind not in STAGES:
        known = ", ".join([*STAGES, *SECTIONS])
        raise ConfigError(f"stages.{index}.stage: unknown stage {kind!r}; known are {known}")
    name = _stage_name(index, entry)
    spec = STAGES[kind]
    path = f"stages.{name}"
    config = validated(spec.Config, {key: entry[key] for key in entry if key not in _STAGE_KEYS}, path)
    given = entry.get("resources") or {}
    stage_resources = validated(StageResources, {**spec.RESOURCES.model_dump(), **given}, f"{path}.resources")
    return StageEntry(name, spec, config, _inputs(entry, spec.reads(config), path), stage_resources)


def _inputs(entry: Mapping[str, Any], reads: Mapping[str, type], path: str) -> dict[str, str]:
    inputs = entry.get("inputs") or {}
    unknown = sorted(set(inputs) - set(reads))
    if unknown:
        raise ConfigError(f"{path}.inputs.{unknown[0]}: unknown input; this stage reads {', '.join(reads) or 'none'}")
    return dict(inputs)


def _check_names(stages: tuple[StageEntry, ...]) -> None:
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"stages: two are called {name!r}; give one of them a `name` of its own")
