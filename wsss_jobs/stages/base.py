"""The contract of a stage. A stage knows items, records and weights; it knows neither Ray nor storage."""

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from models.errors import InvalidInputError
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError, StorageError
from wsss_jobs.records import ARTIFACT_FILE, Record
from wsss_jobs.training.task import ItemReader, TrainTask

Device = Literal["cpu", "cuda"]


class StageConfig(BaseModel):
    """Base of every stage's settings: all of them, and nothing else, decide the bytes that the stage writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StageResources(BaseModel):
    """What one worker of a stage takes, and how it is fed. No part of the fingerprint: it never changes the bytes.

    Attributes:
        num_cpus: Cores a worker; also its thread count.
        num_gpus: Share of a GPU a worker when the job runs on CUDA; 0 for a CPU stage.
        batch_size: Items a call; None: as many as suit the stage on its device (`ItemStage.BATCH_SIZES`).
        max_workers: Upper limit of workers; None: as many as the cluster can place.
        deadline_s: Seconds that one item may take before its worker is killed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_cpus: float = Field(default=1, ge=0)
    num_gpus: float = Field(default=0, ge=0)
    batch_size: int | None = Field(default=None, ge=1)
    max_workers: int | None = Field(default=None, ge=1)
    deadline_s: float = Field(default=600, gt=0)

    def device_on(self, job_device: Device) -> Device:
        """Returns where a worker runs when the job runs on `job_device`."""
        return "cuda" if job_device == "cuda" and self.num_gpus > 0 else "cpu"


@dataclass(frozen=True)
class Ok:
    """One item went well.

    Attributes:
        record: What the stage made.
        scores: Numbers for the receipt, such as a mean confidence.
    """

    record: Record
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """One item cannot be done, now or ever, by this stage.

    Attributes:
        reason: Stable snake_case code.
        message: One sentence for the user.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class ItemInput:
    """All that a stage gets of one item.

    Attributes:
        image_HW3: RGB uint8, or None for a stage that does not ask for it.
        records: By port name.
    """

    item: DatasetItem
    image_HW3: np.ndarray | None
    records: Mapping[str, Any]

    @property
    def image(self) -> np.ndarray:
        """The image of a stage that asked for it."""
        assert self.image_HW3 is not None
        return self.image_HW3


@dataclass(frozen=True)
class DatasetView:
    """The images of the run, for a stage in which an item depends on others.

    Attributes:
        items: All items of the data set, in its order.
        reader: Reads their images, and the records of the stage's ports.
    """

    items: Sequence[DatasetItem]
    reader: ItemReader


@dataclass(frozen=True)
class StageContext:
    """What a stage gets once, on the worker.

    Attributes:
        class_names: Foreground classes; id i + 1 is `class_names[i]`.
        seed: The run's seed.
        device: Where networks and solvers run.
        num_threads: Threads that the worker may use.
        artifacts: Local folder of each artifact, by port name; the file that the stage loads lies there.
        dataset: Of a stage that says `NEEDS_DATASET`; else None.
    """

    class_names: tuple[str, ...]
    seed: int
    device: Device
    num_threads: int
    artifacts: Mapping[str, Path]
    dataset: DatasetView | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes including background."""
        return len(self.class_names) + 1


_log = logging.getLogger(__name__)

T = TypeVar("T")


class StageSpec(ABC):
    """What planning needs to know of any stage.

    Attributes:
        NAME: As recipes write it.
        VERSION: Part of the fingerprint; bump it whenever the bytes written for an unchanged config change.
        Config: Its settings.
        READS: Port name -> record or artifact type.
        WRITES: Record or artifact type.
        RESOURCES: Defaults; a recipe may override them.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    Config: ClassVar[type[StageConfig]]
    READS: ClassVar[Mapping[str, type]]
    WRITES: ClassVar[type]
    RESOURCES: ClassVar[StageResources] = StageResources()

    @staticmethod
    def extra_masks(config: Any) -> tuple[str, ...]:
        """Returns the variants of masks that travel with its streamed record, and are stored by who stores masks."""
        del config
        return ()

    @staticmethod
    def check_inputs(name: str, config: Any, feeders: Mapping[str, StageConfig]) -> None:
        """Rejects a config that does not fit those of the stages that feed it.

        Args:
            name: The stage, as the recipe names it.
            config: Its own settings.
            feeders: Port name -> settings of the stage that feeds it.

        Raises:
            ConfigError: They do not fit.
        """
        del name, config, feeders

    @staticmethod
    def artifact_file(config: Any, port: str) -> str:
        """Returns the file of an artifact that it loads; a training may store several (`keep_epochs`)."""
        del config, port
        return ARTIFACT_FILE

    @classmethod
    def reads(cls, config: Any) -> Mapping[str, type]:
        """Returns what a stage with these settings reads: all of `READS`, but where a setting replaces an input."""
        del config
        return cls.READS


class ItemStage(StageSpec):
    """A stage that works item by item; its constructor loads weights on the worker.

    A subclass says what one item becomes (`_one`), or how a whole batch is done (`process`).

    Attributes:
        NEEDS_IMAGE: Whether `process` gets the decoded images.
        NEEDS_DATASET: Whether what an item becomes depends on other items of the data set.
        NAMES_WEIGHTS: Whether its config can name weight files.
        BATCH_SIZES: Items a call on each device, where the recipe names no number. More feeds an accelerator better;
            fewer lose less when a process dies.
    """

    NEEDS_IMAGE: ClassVar[bool] = True
    NEEDS_DATASET: ClassVar[bool] = False
    NAMES_WEIGHTS: ClassVar[bool] = False
    BATCH_SIZES: ClassVar[Mapping[Device, int]] = {"cpu": 1, "cuda": 1}

    @abstractmethod
    def __init__(self, config: Any, context: StageContext) -> None: ...

    def process(self, batch: Sequence[ItemInput]) -> list[Ok | Failed]:
        """Returns one outcome an item, in order. Never raises for a bad item."""
        return [guarded(partial(self._one, entry)) for entry in batch]

    def _one(self, entry: ItemInput) -> Ok:
        """Returns what one item becomes; an exception is its failure."""
        raise NotImplementedError


class TrainStage(StageSpec):
    """A stage that trains a network on all items and leaves an artifact."""

    @staticmethod
    @abstractmethod
    def task(config: Any, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader) -> TrainTask:
        """Returns the training, as each worker builds it."""


def guarded(work: Callable[[], T]) -> T | Failed:
    """Returns the result of `work`; an exception becomes a `Failed`.

    Out of memory on the accelerator, and a store that does not answer, are no fault of the item and are raised on.
    """
    try:
        return work()
    except (_accelerator_out_of_memory(), StorageError):
        raise
    except InvalidInputError as error:
        return Failed("invalid_input", str(error))
    except DataError as error:
        return Failed(error.reason, error.message)
    except MemoryError as error:
        return Failed("out_of_memory", f"it does not fit into the memory of its node: {error}")
    except Exception as error:  # noqa: BLE001 - one bad item must not take the job along; its last line is reported
        _log.exception("an item failed as no code foresaw")  # the item's receipt has the last line, the log all frames
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Failed("exception", f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")


def _accelerator_out_of_memory() -> type[Exception]:
    """Returns the exception of an accelerator without memory; asked for where something failed, so on workers."""
    from torch import OutOfMemoryError  # whoever plans a job knows stages, and does without torch

    return OutOfMemoryError
