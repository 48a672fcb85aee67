from types import SimpleNamespace

import pytest

from cluster.fan_out.progress import LegProgress, ProgressSnapshot
from wsss_jobs.errors import StorageError
from wsss_jobs.job_identity import JobIdentity
from wsss_jobs.job_progress import JobProgress, Usage, new_driver_id, progress_key, read_progress
from wsss_jobs.progress_publisher import ProgressPublisher
from wsss_jobs.progress_rate import ProgressRate
from wsss_jobs.stages.base import StageResources

IDENTITY = JobIdentity("store", "run", "tiny", "ab" * 32)


def stage(name, *, is_training=False, **resources):
    return SimpleNamespace(name=name, is_training=is_training, resources=StageResources(**resources))


CAMS, CRF = stage("cams", num_cpus=2, num_gpus=0.25), stage("crf", num_cpus=1)
PLAN = SimpleNamespace(stages=[CAMS, CRF], segments=[SimpleNamespace(sink=CRF)])


def snapshot(elapsed_s, num_done, num_failed=0, waiting_for=""):
    legs = (LegProgress("cams", 0, 0, 0, 3, 1, 2, 6), LegProgress("crf", 0, 0, 0, 2, 0, 0, 2))
    return ProgressSnapshot(elapsed_s, 20, num_done, num_failed, 0, 0, legs, waiting_for)


def publisher(store, device="cuda", **more):
    return ProgressPublisher(store, IDENTITY, new_driver_id(), device=device, num_present=lambda: (8.0, 2.0), **more)


def test_a_run_tells_counts_workers_speed_and_what_it_holds(store):
    with publisher(store) as watch:
        watch.run_started(PLAN, 30)
        watch.stage_started(CRF, 20, 9, 1)
        watch.items_progress(CRF, snapshot(10.0, 0))
        watch.items_progress(CRF, snapshot(12.0, 3, 1))
        watch._publish()
        [now] = read_progress(store, "tiny")
        assert watch._held == (2.0, 1.0)  # two CRF workers of a core; four CAM workers of a quarter GPU
    assert (now.state, now.device, now.stages[0].state) == ("running", "cuda", "running")
    assert (now.stages[0].num_done, now.stages[0].num_failed, now.stages[0].num_total) == (12, 2, 30)
    assert [(pool.stage, pool.num_alive, pool.num_wanted) for pool in now.pools] == [("cams", 4, 6), ("crf", 2, 2)]
    assert now.items_per_s == pytest.approx(2.0)
    assert now.eta_s == pytest.approx(8.0)
    [end] = read_progress(store, "tiny")
    assert (end.state, end.pools, end.eta_s) == ("done", (), None)
    assert end.present.gpu_s > 0


def test_on_cpu_every_worker_holds_cores(store):
    with publisher(store, "cpu") as watch:
        watch.run_started(PLAN, 30)
        watch.stage_started(CRF, 20, 0, 0)
        watch.items_progress(CRF, snapshot(1.0, 0, waiting_for="crf waits"))
        assert watch._held == (10.0, 0.0)
        assert watch._now.waiting_for == "crf waits"
        watch.stage_finished(CRF, 20, 0, 1.0)
        assert watch._held == (0.0, 0.0)


def test_what_it_says_is_used_is_what_the_metric_hears(store):
    heard = []
    with publisher(store, on_usage=heard.append) as watch:
        watch.run_started(PLAN, 30)
        watch.stage_started(CRF, 20, 0, 0)
        watch.items_progress(CRF, snapshot(1.0, 0))
        watch.items_progress(CRF, snapshot(2.0, 1))
    [end] = read_progress(store, "tiny")
    assert sum(heard, Usage()) == end.used
    assert end.used.gpu_s > 0


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt(), "interrupted"), (StorageError("full"), "failed")], ids=["stop", "error"]
)
def test_how_it_ended_is_told(store, error, state):
    with pytest.raises(type(error)), publisher(store):
        raise error
    [end] = read_progress(store, "tiny")
    assert (end.state, end.message) == (state, str(error))


def test_a_store_that_fails_does_not_stop_the_run(store):
    class Broken:
        def put(self, key, data):
            raise StorageError("down")

    with publisher(Broken()) as watch:
        watch.run_started(PLAN, 1)


def test_a_driver_that_died_is_silent_and_one_that_said_goodbye_is_not():
    alive = JobProgress(
        recipe="r", run="r", recipe_sha256="", driver_id="d", started_at=0, updated_at=1000, moved_at=900
    )
    assert not alive.is_silent(1030)
    assert alive.is_silent(1061)
    assert not alive.model_copy(update={"state": "failed"}).is_silent(9999)


def test_drivers_are_read_in_order_and_by_recipe(store):
    for number, name in ((2, "tiny"), (1, "tiny"), (3, "tinier")):
        record = JobProgress(
            recipe=name, run="r", recipe_sha256="", driver_id=str(number), started_at=number, updated_at=1, moved_at=1
        )
        store.put(progress_key(name, str(number)), record.model_dump_json().encode())
    assert [each.driver_id for each in read_progress(store, "tiny")] == ["1", "2"]
    store.put(progress_key("tiny", "9"), b"[]")
    with pytest.raises(StorageError, match=r"progress-9\.json"):
        read_progress(store, "tiny")


def test_the_rate_is_that_of_the_last_minute_and_leaves_out_waiting():
    rate = ProgressRate()
    for second in range(0, 600, 10):
        rate.add(second, 0)
    assert (rate.per_s, rate.eta_s(5)) == (0.0, None)
    for second in range(600, 700, 10):
        rate.add(second, (second - 590) // 5)
    assert rate.per_s == pytest.approx(0.2)
    assert rate.eta_s(10) == pytest.approx(50)


def test_cost():
    assert Usage(cpu_s=7200, gpu_s=3600).cost({"cpu": 0.05, "gpu": 1.2}) == pytest.approx(1.3)
