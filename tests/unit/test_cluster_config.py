"""ray-cluster.yaml against Ray's own schema, and its instance settings against AWS's."""

from pathlib import Path

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "ray-cluster.yaml").read_text())
NODE_TYPES = CONFIG["available_node_types"]


def test_ray_accepts_the_file():
    validate_config(prepare_config(CONFIG))


def test_ray_refuses_a_key_that_it_does_not_know():
    with pytest.raises(Exception, match="max_workerss"):
        validate_config(prepare_config({**CONFIG, "max_workerss": 1}))


@pytest.mark.parametrize("name", list(NODE_TYPES))
def test_aws_accepts_the_instance_settings(name):
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    settings = {**NODE_TYPES[name]["node_config"], "MinCount": 1, "MaxCount": 1}
    report = ParamValidator().validate(settings, shape)
    assert not report.has_errors(), report.generate_report()
    assert set(settings) <= set(shape.members)


def test_the_head_does_no_work_and_workers_come_and_go():
    assert NODE_TYPES[CONFIG["head_node_type"]]["resources"] == {"CPU": 0}
    workers = [node for name, node in NODE_TYPES.items() if name != CONFIG["head_node_type"]]
    assert all(node["min_workers"] == 0 and node["max_workers"] > 0 for node in workers)
    assert any(node["resources"].get("GPU") for node in workers)
    assert any("GPU" not in node["resources"] for node in workers)
