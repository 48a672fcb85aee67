"""One real cluster on this machine for all tests that need one; nodes can be added to it and killed."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from cluster.session import connect

REPOSITORY = Path(__file__).resolve().parents[2]
STORE_BYTES = 100 * 1024**2

ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "PYTHONPATH": str(REPOSITORY),
    # A node that is killed counts as dead after about a second; by default, after a quarter of a minute.
    "RAY_health_check_period_ms": "300",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "1000",
}


@pytest.fixture(scope="session")
def ray_cluster():
    """A head node with 4 logical CPUs and 1 logical GPU, on which this process is the driver."""
    import ray._private.utils
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    head = {
        "num_cpus": 4,
        "num_gpus": 1,
        "resources": {"steady": 8},
        "temp_dir": folder,
        "include_dashboard": False,
        "object_store_memory": STORE_BYTES,
        "dashboard_agent_listen_port": 0,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        # The cluster would name itself the default one of this machine, in a file that other programs read.
        patch.setattr(ray._private.utils, "write_ray_address", lambda *args, **kwargs: None)
        running = Cluster(initialize_head=True, head_node_args=head)
        with connect(running.address):
            yield running
        running.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def driver_environment():
    """Environment of a driver in a process of its own, which starts a private Ray."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("RAY_") and name != "PYTHONPATH"}
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    yield {**keep, "RAY_AUTH_MODE": "disabled", "TMPDIR": folder}
    shutil.rmtree(folder, ignore_errors=True)
