import pytest

from cluster.errors import ResourceError
from cluster.resources import ClusterResources, choose_device


def has(num_gpus, *, is_local):
    return ClusterResources(2, 8.0, num_gpus, is_local=is_local, may_grow=not is_local)


@pytest.mark.parametrize(
    ("requested", "num_gpus", "is_local", "device"),
    [
        ("cpu", 0, True, "cpu"),
        ("cpu", 4, False, "cpu"),
        ("auto", 1, True, "cuda"),
        ("auto", 4, False, "cuda"),
        ("auto", 0, True, "cpu"),
        ("cuda", 1, True, "cuda"),
        ("cuda", 0, False, "cuda"),
    ],
)
def test_device(requested, num_gpus, is_local, device):
    choice = choose_device(requested, has(num_gpus, is_local=is_local))
    assert choice.device == device
    assert choice.why


def test_auto_never_runs_gpu_work_on_the_cpus_of_a_cluster():
    with pytest.raises(ResourceError, match=r"2 nodes: say device cuda to wait.*device cpu"):
        choose_device("auto", has(0, is_local=False))


def test_cuda_on_a_machine_without_gpu_is_refused():
    with pytest.raises(ResourceError, match="no GPU on this machine"):
        choose_device("cuda", has(0, is_local=True))


def test_auto_waits_where_the_autoscaler_has_gpu_nodes():
    choice = choose_device("auto", ClusterResources(1, 0.0, 0.0, is_local=False, may_grow=True, gpus_may_come=True))
    assert choice.device == "cuda"
    assert "autoscaler has GPU nodes" in choice.why
    with pytest.raises(ResourceError, match="no autoscaler with GPU nodes"):
        choose_device("auto", ClusterResources(1, 0.0, 0.0, is_local=False, may_grow=True, gpus_may_come=False))
