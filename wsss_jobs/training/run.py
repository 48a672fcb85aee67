"""Runs a training stage on Ray Train, from the driver: scaling, storage, resume, progress."""

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.train
import ray.train.torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig

from wsss_jobs.config.assets import localise_assets
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.stage_io import StageInputs
from wsss_jobs.stages.base import StageContext
from wsss_jobs.storage.artifacts import default_cache_root
from wsss_jobs.storage.mask_facts import score_column
from wsss_jobs.storage.tables import TableKind, write_table
from wsss_jobs.training.job import TrainJob, TrainScale
from wsss_jobs.training.kept_epochs import EpochKeeper
from wsss_jobs.training.loop import LoopOptions, TrainLoop
from wsss_jobs.training.progress_board import BoardListener, ProgressBoard, TrainProgress
from wsss_jobs.worker import CHECKPOINT_KEY, read_image

METRICS_KEY = "metrics.parquet"
_METRICS = TableKind("training_metrics", 1)
_RAY_TRAIN_FOLDER = "working"
_MAX_FAILURES = 3
_POLL_S = 0.5


def run_training(job: TrainJob, scale: TrainScale, on_progress: Callable[[TrainProgress], None]) -> None:
    """Trains and stores `checkpoint/model.pt` and `metrics.parquet`; goes on where an interrupted training stopped.

    The weights of the epochs that a `KeepingTask` names are stored as soon as the epoch ends.

    Raises:
        StageError: The training failed, with the worker's own message.
    """
    if not job.items:
        raise StageError(f"{job.outputs.stage_name}: no items are left to train on; see the failed items")
    filesystem, path = job.outputs.folder.arrow_filesystem()
    board = ProgressBoard.remote()  # type: ignore[attr-defined]
    trainer = ray.train.torch.TorchTrainer(
        _train_worker,
        train_loop_config={"job": job, "scale": scale, "board": board},
        scaling_config=_scaling(scale),
        run_config=RunConfig(
            name=_RAY_TRAIN_FOLDER,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=_MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    with _watched(board, on_progress):
        try:
            _on_another_thread(trainer.fit)
        except ray.train.TrainingFailedError as error:
            raise StageError(f"{job.outputs.stage_name}: training failed: {_cause(error)}") from error


def _on_another_thread(fit: Callable[[], object]) -> None:
    """Runs `fit`, and raises what it raises; Ctrl-C stays a KeyboardInterrupt of this thread.

    On the main thread Ray Train takes SIGINT over, and keeps it: in a training Ctrl-C would count as a failure of the
    training, and in every later stage it would end the process with exit code 0, as if all were done.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            fit()
        except BaseException as error:  # noqa: BLE001 - raised again on the thread that waits
            raised.append(error)

    thread = threading.Thread(target=run, name="ray-train", daemon=True)  # interrupted, it ends with Ray
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _scaling(scale: TrainScale) -> ScalingConfig:
    resources = {"CPU": 0, "GPU": 1} if scale.device == "cuda" else {"CPU": scale.num_cpus}
    return ScalingConfig(num_workers=scale.num_workers, use_gpu=scale.device == "cuda", resources_per_worker=resources)


def _train_worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker does."""
    job: TrainJob = config["job"]
    scale: TrainScale = config["scale"]
    artifacts = {
        port: folder.outputs.local_copy(CHECKPOINT_KEY).parent for port, folder in job.inputs.artifacts.items()
    }
    context = StageContext(job.class_names, job.seed, scale.device, scale.num_cpus, artifacts)
    stage_config = localise_assets(job.config, job.run_store, default_cache_root() / "assets")
    task = job.spec.task(stage_config, context, job.items, _StoreReader(job.inputs))
    options = LoopOptions(job.seed, scale.num_cpus, scale.num_loader_workers)
    loop = TrainLoop(task, options, BoardListener(config["board"]), EpochKeeper(task, job.outputs))
    model = loop.run()
    # Another driver of the same run may have been first. Its artifact stays: others may have read it.
    if loop.context.get_world_rank() == 0 and not job.outputs.folder.exists(CHECKPOINT_KEY):
        task.finish(model, loop.device)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.pt"
            task.save(model.cpu(), path)
            write_table(job.outputs.folder, METRICS_KEY, _METRICS, pa.Table.from_pylist(loop.history))
            job.outputs.put_file(path, CHECKPOINT_KEY)


class _StoreReader:
    """Reads images and stored records for a training task."""

    def __init__(self, inputs: StageInputs) -> None:
        self._inputs = inputs
        self._scores: dict[tuple[str, str], dict[str, float | None]] = {}

    def image(self, item: DatasetItem) -> Any:
        return read_image(item)

    def record(self, port: str, item: DatasetItem) -> Any:
        return self._inputs.stored[port].read(item)

    def score(self, port: str, item: DatasetItem, column: str) -> float | None:
        key = (port, column)
        if key not in self._scores:
            self._scores[key] = score_column(self._inputs.stored[port].outputs.folder, column)
        return self._scores[key].get(item.item_id)


@contextlib.contextmanager
def _watched(board: Any, on_progress: Callable[[TrainProgress], None]) -> Iterator[None]:
    """Shows the board on a thread of its own while `fit` blocks."""
    stop = threading.Event()

    def watch() -> None:
        shown: TrainProgress | None = None
        while not stop.wait(_POLL_S):
            with contextlib.suppress(ray.exceptions.RayError):  # the board may be gone with its node; training is not
                latest = ray.get(board.read.remote(), timeout=5)
                if latest is not None and latest != shown:
                    on_progress(shown := latest)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def _cause(error: BaseException) -> str:
    """Returns what the first failed worker said, without Ray's wrapping."""
    failures: Sequence[BaseException] = list(getattr(error, "worker_failures", {}).values())
    inner: BaseException = failures[0] if failures else error
    while (
        deeper := getattr(inner, "cause", None) or getattr(inner, "_base_exc", None)
    ) is not None and deeper is not inner:
        inner = deeper
    lines = [line for line in str(inner).splitlines() if line.strip()]
    return f"{type(inner).__name__}: {lines[-1] if lines else 'no message'}"
