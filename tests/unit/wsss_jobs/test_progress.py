"""Each log line says which run it is of."""

from types import SimpleNamespace

from cluster.fan_out import ProgressSnapshot
from wsss_jobs.progress import LogObserver
from wsss_jobs.training.progress_board import TrainProgress


def test_every_line_names_the_run_behind_what_it_says(caplog):
    caplog.set_level("INFO", "wsss_jobs.progress")
    stage = SimpleNamespace(name="gcn_masks")
    snapshot = ProgressSnapshot(1.0, 10, 3, 1, 0, 2, (), "GPU nodes, 100 % of them")
    with LogObserver("voc") as observer:
        observer.message("100 % done")
        observer.run_started(SimpleNamespace(segments=(1, 2)), 10)
        observer.stage_started(stage, 7, 3, 0)
        observer.items_progress(stage, snapshot)
        observer.training_progress(stage, TrainProgress(0, 1, 5, {"loss": 0.25}))
        observer.training_started(stage, 2, 1.0, 0.5)
        observer.stage_waits(stage, "no place")
        observer.stage_finished(stage, 9, 1, 2.0)
        observer.stage_reused(stage, 9, 1)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 9
    assert all(line.endswith(" run=voc") for line in lines)
    assert lines[2] == "stage started stage=gcn_masks todo=7 done=3 failed=0 run=voc"
