"""What a running job says of itself, as one small JSON object a driver in the run's folder.

A driver writes `jobs/<recipe>/progress-<driver id>.json` every few seconds, and a last time when it ends. It stays when
the driver dies: the time of the last word then says since when nothing was heard.
"""

import secrets
import time
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore

# Several times the interval of writing, and more than a store's slowest retries.
SILENT_AFTER_S = 60.0

DriverState = Literal["running", "done", "failed", "interrupted"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)  # unknown keys of a newer version are ignored


class Usage(_Record):
    """Resources times seconds."""

    cpu_s: float = 0.0
    gpu_s: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(cpu_s=self.cpu_s + other.cpu_s, gpu_s=self.gpu_s + other.gpu_s)

    def cost(self, price_per_hour: dict[str, float]) -> float:
        """What it costs at a price an hour of a CPU core (`cpu`) and of a GPU (`gpu`)."""
        cpu, gpu = price_per_hour.get("cpu", 0.0), price_per_hour.get("gpu", 0.0)
        return (self.cpu_s * cpu + self.gpu_s * gpu) / 3600


class StageProgress(_Record):
    """One stage.

    Attributes:
        num_total: Items, or steps of a training; None while unknown.
    """

    name: str
    state: Literal["to do", "running", "done"] = "to do"
    is_training: bool = False
    num_total: int | None = None
    num_done: int = 0
    num_failed: int = 0


class PoolProgress(_Record):
    """The workers of a stage.

    Attributes:
        num_alive: Those that work or load.
        num_wanted: What the pool aims at.
    """

    stage: str
    num_alive: int
    num_wanted: int


class JobProgress(_Record):
    """A driver at one moment.

    Attributes:
        started_at: Unix time, s; so are the others.
        updated_at: When this was written.
        moved_at: When an item or step was last finished, or a stage.
        message: How it ended, where it did not end well.
        items_per_s: Items or steps a second, of the last minute.
        eta_s: Seconds until the running stage is done at that rate; None when unknown.
        waiting_for: A sentence while a stage has work and no worker.
        used: What the job's workers have held.
        present: What the whole cluster had meanwhile.
    """

    recipe: str
    run: str
    recipe_sha256: str
    driver_id: str
    submission_id: str = ""
    host: str = ""
    state: DriverState = "running"
    message: str = ""
    device: str = ""
    started_at: float
    updated_at: float
    moved_at: float
    stages: tuple[StageProgress, ...] = ()
    pools: tuple[PoolProgress, ...] = ()
    items_per_s: float = 0.0
    eta_s: float | None = None
    waiting_for: str = ""
    used: Usage = Usage()
    present: Usage = Usage()

    def is_silent(self, now: float) -> bool:
        """Whether a driver that did not say goodbye has not been heard of for long: it was killed, or hangs."""
        return self.state == "running" and now - self.updated_at > SILENT_AFTER_S


def new_driver_id(now: float | None = None) -> str:
    """Returns an id that sorts by time."""
    started = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    return f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def progress_key(recipe: str, driver_id: str) -> str:
    """Returns where a driver writes, below the run's folder."""
    return f"jobs/{recipe}/progress-{driver_id}.json"


def read_progress(run_store: ObjectStore, recipe: str) -> list[JobProgress]:
    """Returns what the drivers of a recipe have said, the first driver first.

    Raises:
        StorageError: The store cannot be read, or an object is not what it should be.
    """
    found = []
    for info in run_store.list(f"jobs/{recipe}/progress-"):
        try:
            found.append(JobProgress.model_validate_json(run_store.get(info.key)))
        except ObjectNotFoundError:
            continue  # deleted since the listing
        except ValueError as error:
            raise StorageError(f"{run_store.uri_of(info.key)}: no progress record; delete it ({error})") from error
    return sorted(found, key=lambda progress: progress.started_at)
