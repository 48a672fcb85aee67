"""From a recipe to a plan: who reads from whom, under which fingerprint, and what runs together. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wsss_jobs.config.fingerprint import fingerprint
from wsss_jobs.errors import ConfigError
from wsss_jobs.records import ARTIFACTS
from wsss_jobs.stages.base import ItemStage, StageConfig, StageResources, StageSpec

if TYPE_CHECKING:  # workers import plans, and have no use for recipes
    from wsss_jobs.config.recipe import StageEntry


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its place in the plan.

    Attributes:
        inputs: Port name -> name of the stage that feeds it.
        fingerprint: Hash of config, `VERSION`, run seed, data set and all that it reads.
        extra_masks: Variants of masks that it or a streamed input of it makes beside the record.
    """

    name: str
    spec: type[StageSpec]
    config: StageConfig
    resources: StageResources
    inputs: Mapping[str, str]
    fingerprint: str
    extra_masks: tuple[str, ...] = ()

    @property
    def is_streamed(self) -> bool:
        """Whether its records go straight on to the next stage and are never stored."""
        return getattr(self.spec.WRITES, "storage", None) == "streamed"

    @property
    def is_training(self) -> bool:
        """Whether it leaves an artifact and no records."""
        return self.spec.WRITES in ARTIFACTS


@dataclass(frozen=True)
class Segment:
    """Stages that run together: streamed ones in front, the one that stores its records last."""

    stages: tuple[PlannedStage, ...]

    @property
    def sink(self) -> PlannedStage:
        """The stage that stores."""
        return self.stages[-1]


@dataclass(frozen=True)
class Plan:
    """All stages in an order in which they can run, and the same cut into segments."""

    stages: tuple[PlannedStage, ...]
    segments: tuple[Segment, ...]

    def stage(self, name: str) -> PlannedStage:
        """Returns a stage by name."""
        return next(stage for stage in self.stages if stage.name == name)

    def stage_of(self, step: str) -> PlannedStage:
        """Returns the stage of a step, `<stage>` or `<stage>/<variant>`."""
        return self.stage(step.partition("/")[0])

    def upstream(self, stage: PlannedStage) -> set[str]:
        """Returns the names of the stages that a stage reads, directly or through others."""
        direct = set(stage.inputs.values())
        return direct.union(*(self.upstream(self.stage(name)) for name in direct))


def build_plan(entries: Sequence[StageEntry], dataset_fingerprint: str, seed: int) -> Plan:
    """Returns the plan of a recipe's stages.

    Raises:
        ConfigError: An input that no earlier stage feeds, one that is fed by the wrong kind, two possible feeders, or a
            streamed stage that nothing reads.
    """
    planned: list[PlannedStage] = []
    for entry in entries:
        planned.append(_plan(entry, planned, dataset_fingerprint, seed))
    stages = tuple(planned)
    segments = tuple(_segment(stage, stages) for stage in stages if not stage.is_streamed)
    for stage in stages:
        if not any(stage in segment.stages for segment in segments):
            msg = f"stages.{stage.name}: its {stage.spec.WRITES.__name__} is streamed, and no later stage reads it"
            raise ConfigError(msg)
    return Plan(stages, segments)


def _plan(entry: StageEntry, earlier: Sequence[PlannedStage], dataset_fingerprint: str, seed: int) -> PlannedStage:
    inputs = {port: _feeder(entry, port, kind, earlier) for port, kind in entry.spec.reads(entry.config).items()}
    by_name = {stage.name: stage for stage in earlier}
    feeders = {port: by_name[name] for port, name in inputs.items()}
    entry.spec.check_inputs(entry.name, entry.config, {port: feeder.config for port, feeder in feeders.items()})
    content = {
        "stage": entry.spec.NAME,
        "version": entry.spec.VERSION,
        "config": entry.config.model_dump(mode="json"),
        "seed": seed,
        "dataset": dataset_fingerprint,
        "inputs": {port: feeder.fingerprint for port, feeder in feeders.items()},
    }
    streamed = [variant for feeder in feeders.values() if feeder.is_streamed for variant in feeder.extra_masks]
    extra_masks = (*streamed, *entry.spec.extra_masks(entry.config))
    return PlannedStage(
        entry.name, entry.spec, entry.config, entry.resources, inputs, fingerprint(content), extra_masks
    )


def _feeder(entry: StageEntry, port: str, kind: type, earlier: Sequence[PlannedStage]) -> str:
    """Returns the stage that feeds a port: the one the recipe names, else the nearest earlier one of the right kind."""
    named = entry.inputs.get(port)
    fitting = [stage.name for stage in earlier if issubclass(stage.spec.WRITES, kind)]
    if named is None:
        if not fitting:
            msg = f"stages.{entry.name}.inputs.{port}: no earlier stage writes {kind.__name__}; add one before it"
            raise ConfigError(msg)
        return fitting[-1]
    if named not in fitting:
        msg = f"stages.{entry.name}.inputs.{port}: {named!r} is no earlier stage that writes {kind.__name__}"
        raise ConfigError(f"{msg}; these do: {', '.join(fitting) or 'none'}")
    return named


def _segment(sink: PlannedStage, stages: Sequence[PlannedStage]) -> Segment:
    chain = [sink]
    while (upstream := _streamed_input(chain[0], stages)) is not None:
        chain.insert(0, upstream)
    return Segment(tuple(chain))


def _streamed_input(stage: PlannedStage, stages: Sequence[PlannedStage]) -> PlannedStage | None:
    if not issubclass(stage.spec, ItemStage):
        return None
    feeders = [other for other in stages if other.name in stage.inputs.values() and other.is_streamed]
    if len(feeders) > 1:
        msg = f"stages.{stage.name}: it reads {len(feeders)} streamed inputs; one is the limit"
        raise ConfigError(msg)
    return feeders[0] if feeders else None
