"""Sessions in driver processes of their own: what they start, what they print, and what they leave behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from cluster.session import connect

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

REPOSITORY = Path(__file__).resolve().parents[2]

# The driver finds our packages by its own sys.path only, and runs in a folder of its own.
PREAMBLE = f"""
import sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from cluster.fan_out import ActorResources, FanOutPolicy, Leg, Outcome, WorkItem, fan_out
from cluster.session import connect

class Slow:
    def run(self, items, upstream):
        import cluster.fan_out
        print("a worker's own words")
        print("a worker's own complaint", file=sys.stderr)
        time.sleep(float(items[0].payload))
        return [Outcome(item.id, True, {{}}) for item in items]

leg = Leg("slow", Slow, ActorResources(1))
"""


def start(script: str, environment, folder) -> subprocess.Popen:
    (folder / "driver.py").write_text(PREAMBLE + textwrap.dedent(script), encoding="utf-8")
    command = [sys.executable, "-u", "driver.py"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def processes_of(session_id: int) -> list[str]:
    """Command lines of the processes in a session, which is what a driver and its Ray are.

    Ray's two agents are left out: after a driver's sudden death they go by themselves, but only after a minute.
    """
    found = subprocess.run(["ps", "-o", "args=", "-s", str(session_id)], capture_output=True, text=True, check=False)
    ignored = ("defunct", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
    return [line for line in found.stdout.splitlines() if not any(name in line for name in ignored)]


def assert_nothing_is_left(driver, environment):
    while processes_of(driver.pid):  # bounded by the test's timeout
        time.sleep(0.1)
    assert list(Path(environment["TMPDIR"]).glob("wsss-ray-*")) == []


def test_a_private_session_runs_quietly_and_leaves_nothing(driver_environment, tmp_path):
    script = """
    with connect(num_cpus=2, object_store_mib=80, dashboard=False) as session:
        resources = session.resources()
        assert (resources.num_cpus, resources.is_local, resources.may_grow) == (2, True, False)
        with connect() as again:
            assert again.resources().num_cpus == 2
        assert session.resources().num_nodes == 1, "an inner session must not end the outer one"
        done = []
        fan_out([WorkItem(str(n), 0.01) for n in range(10)], [leg], on_outcome=done.append)
        print(len(done), all(outcome.ok for outcome in done))
    """
    driver = start(script, driver_environment, tmp_path)
    out, err = driver.communicate(timeout=90)
    assert (out, err, driver.returncode) == ("10 True\n", "", 0)
    assert_nothing_is_left(driver, driver_environment)


def test_ctrl_c_ends_actors_and_ray_without_a_traceback_of_theirs(driver_environment, tmp_path):
    script = """
    done = []
    try:
        with connect(num_cpus=2, object_store_mib=80, dashboard=False):
            items = (WorkItem(str(n), 0.05 if n < 5 else 60) for n in range(10**9))
            tell = lambda outcome: print("done", flush=True)
            fan_out(items, [leg], on_outcome=tell)
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
    """
    driver = start(script, driver_environment, tmp_path)
    assert driver.stdout.readline() == "done\n"
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does it: to every process of the group
    out, err = driver.communicate(timeout=60)
    assert out.endswith("interrupted\n")
    assert err == ""
    assert driver.returncode == 130
    assert_nothing_is_left(driver, driver_environment)


def test_a_killed_driver_leaves_no_process_and_its_folder_is_swept_by_the_next(driver_environment, tmp_path):
    script = """
    with connect(num_cpus=1, object_store_mib=80, dashboard=False):
        fan_out([WorkItem("one", 0.0), WorkItem("two", 600)], [leg], on_outcome=lambda outcome: print("done"))
    """
    driver = start(script, driver_environment, tmp_path)
    assert driver.stdout.readline() == "done\n"
    driver.kill()
    driver.wait()
    while processes_of(driver.pid):
        time.sleep(0.1)
    stale = list(Path(driver_environment["TMPDIR"]).glob("wsss-ray-*"))
    assert len(stale) == 1
    sweep = "from cluster.local_ray import make_session_folder\nmake_session_folder().rmdir()"
    sweeper = start(sweep, driver_environment, tmp_path)
    assert sweeper.communicate(timeout=60) == ("", "")
    assert_nothing_is_left(driver, driver_environment)


def test_a_second_session_joins_and_leaves_the_first_alone(ray_cluster):
    with connect() as session:
        assert not session.is_local
        assert session.resources().num_cpus >= 4
    with connect() as session:
        assert session.resources().num_gpus == 1
