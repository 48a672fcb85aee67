"""Ray's real autoscaler with nodes that are processes of this machine: GPU nodes come from zero when asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ray_head import STORE_BYTES, RayHead

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

DRIVER = Path(__file__).with_name("autoscaled_driver.py")
GPU_NODE = {"resources": {"CPU": 2, "GPU": 1, "object_store_memory": STORE_BYTES}, "max_workers": 2}
CPU_NODE = {"resources": {"CPU": 2, "object_store_memory": STORE_BYTES}, "max_workers": 2}


@pytest.fixture(scope="module")
def gpu_head():
    """A head without GPU; its autoscaler may start two nodes with a GPU each."""
    head = RayHead(num_cpus=1, node_types={"gpu": GPU_NODE})
    yield head
    head.close()


@pytest.fixture
def cpu_head():
    """A head without GPU whose autoscaler has none to offer."""
    head = RayHead(num_cpus=1, node_types={"cpu": CPU_NODE})
    yield head
    head.close()


def drive(head, num_gpus, timeout_s=90):
    command = [sys.executable, DRIVER, num_gpus, timeout_s]
    environment = head.environment | {"RAY_ADDRESS": head.gcs_address}
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_gpu_nodes_come_when_work_asks_for_them_and_go_after_it(gpu_head):
    found = drive(gpu_head, num_gpus=1)
    assert found["nodes_before"] == 1
    assert found["auto"] == "cuda", "the autoscaler has GPU nodes: waiting for them is right"
    assert any("gpu waits for a worker with 1 GPU: no node has" in text for text in found["waited_for"]), found
    assert found["num_done"] == 40
    assert found["gpus_seen"] == ["0"], "GPU work ran on the GPU of a node that came, never on the head's CPU"
    assert 1 <= found["nodes_that_came"] <= 2


def test_a_gpu_stage_that_no_node_can_ever_hold_says_so_at_its_limit(gpu_head):
    found = drive(gpu_head, num_gpus=4, timeout_s=3)
    assert "leg 'gpu' has waited 3 s for a worker with 4 GPU" in found["error"]
    assert "first_worker_timeout_s" in found["error"]
    assert (found["num_done"], found["gpus_seen"]) == (0, [])


@pytest.mark.long
def test_a_cluster_that_never_has_a_gpu_runs_no_gpu_work_on_cpus(cpu_head):
    found = drive(cpu_head, num_gpus=1, timeout_s=3)
    assert "device auto found no GPU and no autoscaler with GPU nodes" in found["auto"]
    assert "has waited 3 s for a worker with 1 GPU" in found["error"]
    assert (found["num_done"], found["gpus_seen"], found["nodes_that_came"]) == (0, [], 0)
