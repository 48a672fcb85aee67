"""ray-cluster.yaml against Ray's own schema, and its instance settings against AWS's."""

import json
import re
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


def test_workers_are_spot_and_the_head_is_not():
    spot = {name for name, node in NODE_TYPES.items() if "InstanceMarketOptions" in node["node_config"]}
    assert spot == set(NODE_TYPES) - {CONFIG["head_node_type"]}
    assert 0 < CONFIG["idle_timeout_minutes"] <= 10
    assert CONFIG["provider"]["cache_stopped_nodes"] is False


def test_every_node_has_the_token_and_asks_for_it():
    assert CONFIG["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert "-e RAY_AUTH_MODE=token" in CONFIG["docker"]["run_options"]
    assert "--dashboard-host=127.0.0.1" in " ".join(CONFIG["head_start_ray_commands"])


def test_gpu_nodes_and_only_they_have_the_gpu_image():
    for node in NODE_TYPES.values():
        image = node.get("docker", {}).get("worker_image", CONFIG["docker"]["image"])
        assert image.endswith("-gpu" if "GPU" in node["resources"] else "-cpu")


@pytest.mark.parametrize("name", list(NODE_TYPES))
def test_a_node_says_which_ami_and_who_it_is(name):
    settings = NODE_TYPES[name]["node_config"]
    assert settings["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/"), "Ray's default is of 2023"
    assert settings["IamInstanceProfile"] == {
        "Name": "wsss-head" if name == CONFIG["head_node_type"] else "wsss-worker"
    }
    assert settings["MetadataOptions"]["HttpTokens"] == "required"


def test_the_policies_of_the_documentation_fit_the_file():
    text = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    head, worker = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    conditions = [statement.get("Condition", {}).get("StringEquals", {}) for statement in head["Statement"]]
    assert {"ec2:ResourceTag/ray-cluster-name": CONFIG["cluster_name"]} in conditions
    assert {"aws:RequestedRegion": CONFIG["provider"]["region"]} in conditions
    pass_role = next(statement for statement in head["Statement"] if statement["Action"] == "iam:PassRole")
    assert pass_role["Resource"].endswith(":role/wsss-worker")
    assert not any("ec2" in str(statement["Action"]) for statement in worker["Statement"])
