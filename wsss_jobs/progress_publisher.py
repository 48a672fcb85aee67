"""Tells the store how a run goes, so that anyone who can read the store can look, also after the driver's death."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from cluster.fan_out import ProgressSnapshot
from wsss_jobs.errors import StorageError
from wsss_jobs.job_identity import JobIdentity
from wsss_jobs.job_progress import DriverState, JobProgress, PoolProgress, StageProgress, Usage, progress_key
from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.progress_rate import ProgressRate
from wsss_jobs.stages.base import Device
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.training.progress_board import TrainProgress

_log = logging.getLogger(__name__)
_EVERY_S = 4.0
_MAX_STEP_S = 60.0


class ProgressPublisher:
    """An observer that writes a `JobProgress` to the run's folder every few seconds, on a thread of its own.

    A store that does not answer delays nothing and stops nothing: this is the picture, not the ledger.

    Args:
        store: The run's folder.
        num_present: CPUs and GPUs that the cluster has now.
        on_usage: Hears what the job's workers have held since it last heard.
    """

    def __init__(
        self,
        store: ObjectStore,
        identity: JobIdentity,
        driver_id: str,
        *,
        device: Device,
        submission_id: str = "",
        num_present: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0),
        on_usage: Callable[[Usage], None] = lambda _: None,
    ) -> None:
        now = time.time()
        self._store = store
        self._key = progress_key(identity.recipe, driver_id)
        self._device: Device = device
        self._num_present, self._on_usage = num_present, on_usage
        self._present = (0.0, 0.0)
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._publish_until_ended, daemon=True)
        self._now = JobProgress(
            recipe=identity.recipe,
            run=identity.run,
            recipe_sha256=identity.recipe_sha256,
            driver_id=driver_id,
            submission_id=submission_id,
            host=f"{socket.gethostname()}:{os.getpid()}",
            device=device,
            started_at=now,
            updated_at=now,
            moved_at=now,
        )
        self._stages: Mapping[str, PlannedStage] = {}
        self._rate, self._before = ProgressRate(), (0, 0)
        self._held, self._metered_s = (0.0, 0.0), time.monotonic()

    def __enter__(self) -> Self:
        self._present = self._look_at_cluster()
        self._publish()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        state: DriverState = "done" if kind is None else "failed" if issubclass(kind, Exception) else "interrupted"
        message = str(error)[:1000] if state == "failed" else ""
        self._change(state=state, message=message, **_IDLE)
        self._ended.set()
        self._thread.join()
        self._publish()

    def message(self, text: str) -> None:
        """Not published."""

    def run_started(self, plan: Plan, num_items: int) -> None:
        """Notes the stages with results."""
        del num_items
        self._stages = {stage.name: stage for stage in plan.stages}
        sinks = [segment.sink for segment in plan.segments]
        self._change(stages=tuple(StageProgress(name=each.name, is_training=each.is_training) for each in sinks))

    def stage_started(self, stage: PlannedStage, num_todo: int, num_done: int, num_failed: int) -> None:
        """Opens a stage."""
        self._rate, self._before = ProgressRate(), (num_done, num_failed)
        total = None if stage.is_training else num_todo + num_done + num_failed
        done = 0 if stage.is_training else num_done
        self._change_stage(stage, state="running", num_total=total, num_done=done, num_failed=num_failed)

    def stage_waits(self, stage: PlannedStage, why: str) -> None:
        """Notes why."""
        self._change(waiting_for=f"{stage.name}: {why}")

    def training_started(self, stage: PlannedStage, num_workers: int, num_cpus: float, num_gpus: float) -> None:
        """Notes what a training holds from now on."""
        self._hold(num_workers * num_cpus, num_workers * num_gpus)
        pool = PoolProgress(stage=stage.name, num_alive=num_workers, num_wanted=num_workers)
        self._change(pools=(pool,), waiting_for="")

    def items_progress(self, stage: PlannedStage, snapshot: ProgressSnapshot) -> None:
        """Notes counts, workers and speed."""
        done, failed = (self._before[0] + snapshot.num_done, self._before[1] + snapshot.num_failed)
        self._rate.add(snapshot.elapsed_s, snapshot.num_done + snapshot.num_failed)
        self._hold(*self._held_by(snapshot))
        total = self._change_stage(stage, num_done=done, num_failed=failed).num_total or 0
        pools = [
            PoolProgress(
                stage=leg.name,
                num_alive=leg.num_ready_actors + leg.num_starting_actors,
                num_wanted=leg.target_actors,
            )
            for leg in snapshot.legs
        ]
        self._change(
            pools=tuple(pools),
            items_per_s=self._rate.per_s,
            eta_s=self._rate.eta_s(total - done - failed),
            waiting_for=snapshot.waiting_for,
        )

    def training_progress(self, stage: PlannedStage, progress: TrainProgress) -> None:
        """Notes steps and speed."""
        self._rate.add(time.monotonic(), progress.step)
        self._change_stage(stage, num_total=progress.num_steps, num_done=progress.step)
        self._change(items_per_s=self._rate.per_s, eta_s=self._rate.eta_s(progress.num_steps - progress.step))

    def stage_finished(self, stage: PlannedStage, num_done: int, num_failed: int, seconds: float) -> None:
        """Closes a stage."""
        del seconds
        self.stage_reused(stage, num_done, num_failed)

    def stage_reused(self, stage: PlannedStage, num_done: int, num_failed: int) -> None:
        """Notes a stage that is complete."""
        self._hold(0.0, 0.0)
        self._change_stage(
            stage, state="done", num_total=num_done + num_failed, num_done=num_done, num_failed=num_failed
        )
        self._change(**_IDLE)

    def _held_by(self, snapshot: ProgressSnapshot) -> tuple[float, float]:
        """Returns the CPUs and GPUs of the actors that have a place."""
        cpus = gpus = 0.0
        for leg in snapshot.legs:
            takes = self._stages[leg.name].resources
            count = leg.num_ready_actors + leg.num_starting_actors
            if takes.device_on(self._device) == "cuda":
                gpus += count * takes.num_gpus
            else:
                cpus += count * takes.num_cpus
        return cpus, gpus

    def _hold(self, num_cpus: float, num_gpus: float) -> None:
        with self._lock:
            self._meter()
            self._held = (num_cpus, num_gpus)

    def _meter(self) -> None:
        """Adds what was held since the last look."""
        now = time.monotonic()
        seconds, self._metered_s = min(now - self._metered_s, _MAX_STEP_S), now
        used = Usage(cpu_s=self._held[0] * seconds, gpu_s=self._held[1] * seconds)
        present = Usage(cpu_s=self._present[0] * seconds, gpu_s=self._present[1] * seconds)
        self._on_usage(used)
        self._change(used=self._now.used + used, present=self._now.present + present)

    def _change_stage(self, stage: PlannedStage, **update: Any) -> StageProgress:
        with self._lock:
            [before] = [each for each in self._now.stages if each.name == stage.name]
            after = before.model_copy(update=update)
            moved = (after.state, after.num_done, after.num_failed) != (
                before.state,
                before.num_done,
                before.num_failed,
            )
            stages = tuple(after if each is before else each for each in self._now.stages)
            self._change(stages=stages, moved_at=time.time() if moved else self._now.moved_at)
            return after

    def _change(self, **update: Any) -> None:
        with self._lock:
            self._now = self._now.model_copy(update=update)

    def _publish_until_ended(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._present = self._look_at_cluster()
            self._publish()

    def _look_at_cluster(self) -> tuple[float, float]:
        try:
            return self._num_present()
        except Exception as error:  # noqa: BLE001 - Ray may be restarting; the job's own calls will say so
            _log.debug("the cluster's size is not known: %s", error)
            return self._present

    def _publish(self) -> None:
        with self._lock:
            self._meter()
            self._change(updated_at=time.time())
            data = self._now.model_dump_json().encode()
        try:
            self._store.put(self._key, data)
        except StorageError as error:
            _log.warning("progress cannot be published: %s", error)


_IDLE: dict[str, Any] = {"pools": (), "waiting_for": "", "eta_s": None, "items_per_s": 0.0}
