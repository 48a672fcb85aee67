import json

import pytest

from cluster.capacity import ClusterCapacity, NodeType, explain_never, node_types_of_config, node_types_of_monitor

HEAD = {"CPU": 4.0}
CONFIG = {
    "max_workers": 12,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "gpu": {"resources": {"CPU": 16, "GPU": 1}, "max_workers": 8},
        "retired": {"resources": {"CPU": 64, "GPU": 8}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 16}},
    },
}


@pytest.mark.parametrize(
    ("request_", "node_types", "expected"),
    [
        ({"CPU": 4}, (), True),
        ({"CPU": 5}, (), False),
        ({"GPU": 0.25}, (), False),
        ({"GPU": 0.25}, None, None),
        ({"GPU": 0.25}, (NodeType("gpu", {"GPU": 1.0}),), True),
        ({"GPU": 1, "CPU": 4}, (NodeType("gpu", {"GPU": 1.0, "CPU": 2.0}),), False),
    ],
)
def test_whether_a_request_can_ever_be_met(request_, node_types, expected):
    assert ClusterCapacity((HEAD,), node_types).can_ever_hold(request_) is expected


def test_what_an_autoscaler_may_bring():
    assert ClusterCapacity((HEAD,), None).may_bring("GPU") is None
    assert ClusterCapacity((HEAD,), ()).may_bring("GPU") is False
    assert ClusterCapacity((HEAD,), (NodeType("gpu", {"GPU": 1.0}),)).may_bring("GPU") is True


def test_the_types_of_a_configuration_are_those_that_may_start():
    assert node_types_of_config(CONFIG) == (
        NodeType("gpu", {"CPU": 16.0, "GPU": 1.0}, 8),
        NodeType("cpu", {"CPU": 16.0}, 12),
    )


def monitor(address, *more):
    return ["python3", "-u", "/x/ray/autoscaler/_private/monitor.py", f"--gcs-address={address}", *more]


def test_the_monitor_of_this_cluster_names_its_configuration(tmp_path):
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(CONFIG))
    commands = [["bash"], monitor("10.0.0.1:6380"), monitor("10.0.0.1:6379", f"--autoscaling-config={file}")]
    assert [kind.name for kind in node_types_of_monitor(commands, "10.0.0.1:6379")] == ["gpu", "cpu"]
    assert node_types_of_monitor(commands, "10.0.0.1:6380") == ()
    assert node_types_of_monitor(commands, "10.0.0.1:6390") is None
    file.unlink()
    assert node_types_of_monitor(commands, "10.0.0.1:6379") is None


def test_the_explanation_names_what_is_missing_and_what_there_is():
    types = (NodeType("cpu", {"CPU": 16.0}),)
    assert "GPU (asked 1, the largest node has 0)" in explain_never({"GPU": 1}, ClusterCapacity((HEAD,), ()))
    assert "no autoscaler" in explain_never({"GPU": 1}, ClusterCapacity((HEAD,), ()))
    assert "cpu (16 CPU)" in explain_never({"GPU": 1}, ClusterCapacity((HEAD,), types))
