"""The Kubernetes manifests: as Ray's own autoscaler reads them, and by the rules that KubeRay and Kubernetes have."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

REPOSITORY = Path(__file__).resolve().parents[4]
FOLDER = REPOSITORY / "cluster" / "kuberay"
CLUSTER = yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text())
JOB = yaml.safe_load((FOLDER / "ray-job.yaml").read_text())
SPEC = CLUSTER["spec"]
AWS = yaml.safe_load((REPOSITORY / "ray-cluster.yaml").read_text())
GROUPS = {"head": SPEC["headGroupSpec"], **{group["groupName"]: group for group in SPEC["workerGroupSpecs"]}}
MANIFESTS = sorted(FOLDER.glob("*.yaml"))

# The fields of ray.io/v1 (KubeRay 1.6, docs/reference/api.md): the API server drops others in silence.
CLUSTER_FIELDS = {
    "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec",
    "headServiceAnnotations", "managedBy", "rayVersion", "suspend", "upgradeStrategy", "workerGroupSpecs",
}  # fmt: skip
AUTOSCALER_FIELDS = {
    "env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources", "securityContext",
    "upscalingMode", "version", "volumeMounts",
}  # fmt: skip
HEAD_FIELDS = {"enableIngress", "headService", "labels", "rayStartParams", "resources", "serviceType", "template"}
WORKER_FIELDS = {
    "groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams",
    "replicas", "resources", "scaleStrategy", "suspend", "template",
}  # fmt: skip
JOB_FIELDS = {
    "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy", "entrypoint",
    "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata",
    "preRunningDeadlineSeconds", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode",
    "submitterConfig", "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished",
}  # fmt: skip


def pod(group: str) -> dict:
    return GROUPS[group]["template"]["spec"]


def container(group: str) -> dict:
    return pod(group)["containers"][0]


def test_rays_autoscaler_reads_what_we_mean():
    metadata = {"namespace": "default", **CLUSTER["metadata"]}
    config = _derive_autoscaling_config_from_ray_cr({"metadata": metadata, "spec": SPEC})  # validates, too
    types = config["available_node_types"]
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert "GPU" not in types["headgroup"]["resources"]
    assert {name: node["resources"].get("GPU", 0) for name, node in types.items()} == {
        "headgroup": 0, "gpu-spot": 1, "cpu-spot": 0,
    }  # fmt: skip
    for name in ("gpu-spot", "cpu-spot"):
        assert types[name]["min_workers"] == 0
        assert types[name]["resources"]["CPU"] == 14
        assert types[name]["labels"] == {"ray.io/market-type": "spot"}
    assert config["max_workers"] == AWS["max_workers"]
    assert config["idle_timeout_minutes"] == AWS["idle_timeout_minutes"]


def test_only_known_fields():
    assert set(SPEC) <= CLUSTER_FIELDS
    assert set(SPEC["autoscalerOptions"]) <= AUTOSCALER_FIELDS
    assert set(SPEC["headGroupSpec"]) <= HEAD_FIELDS
    assert all(set(group) <= WORKER_FIELDS for group in SPEC["workerGroupSpecs"])
    assert set(JOB["spec"]) <= JOB_FIELDS


def test_the_job_has_the_same_cluster():
    assert JOB["spec"]["rayClusterSpec"] == SPEC


def test_versions_and_images_are_those_of_everything_else():
    pinned = re.search(r"^ray==(\S+)", (REPOSITORY / "requirements" / "constraints.txt").read_text(), re.MULTILINE)
    assert SPEC["rayVersion"] == pinned[1]
    assert container("head")["image"] == container("cpu-spot")["image"] == AWS["docker"]["image"]
    gpu_image = AWS["available_node_types"]["gpu_spot"]["docker"]["worker_image"]
    assert container("gpu-spot")["image"] == gpu_image
    assert gpu_image == AWS["docker"]["image"].replace("-cpu", "-gpu")


@pytest.mark.parametrize("group", list(GROUPS))
def test_a_pod_has_what_it_may_have(group):
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", group)
    resources = container(group)["resources"]
    assert resources["requests"] == resources["limits"], "GPUs must be equal; equal CPU and memory are guaranteed"
    assert pod(group)["securityContext"]["runAsUser"] == 1000
    assert pod(group)["securityContext"]["runAsNonRoot"] is True
    assert {"name": "metrics", "containerPort": 8080} in container(group)["ports"]
    assert pod(group)["restartPolicy"] == "Never", "autoscaler v2: a pod must not come back as another node"
    assert not {"livenessProbe", "readinessProbe"} & set(container(group)), "KubeRay's own know the ports"
    assert all(isinstance(value, str) for value in GROUPS[group]["rayStartParams"].values())
    assert "num-gpus" not in GROUPS[group]["rayStartParams"], "from the limits"


@pytest.mark.parametrize("group", ["gpu-spot", "cpu-spot"])
def test_workers_are_spot_and_have_time_to_leave(group):
    assert "spot" in pod(group)["nodeSelector"].values()
    tolerated = {toleration["key"] for toleration in pod(group)["tolerations"]}
    assert "spot" in tolerated
    assert ("nvidia.com/gpu" in tolerated) == ("nvidia.com/gpu" in container(group)["resources"]["limits"])
    drain_s = next(int(e["value"]) for e in container(group)["env"] if e["name"].endswith("DRAIN_TIMEOUT_S"))
    assert 30 < drain_s < pod(group)["terminationGracePeriodSeconds"] < 120


def test_the_job_ends_with_its_cluster_and_runs_the_documented_command():
    spec = JOB["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["entrypoint"].startswith("python -m wsss_jobs run ")
    assert "resources.device=cuda" in spec["entrypoint"], "the cluster has no GPU when the job begins"
    assert "entrypointNumGpus" not in spec


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 1), (3, 0)])
def test_a_job_with_failed_images_counts_as_done(code, expected, tmp_path):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {code}\n")
    python.chmod(0o755)
    entrypoint = JOB["spec"]["entrypoint"]
    done = subprocess.run(entrypoint, shell=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert done.returncode == expected


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_no_secret_is_written_down(path):
    text = path.read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|(?i:secret_access_key|password|token): *\S", text)
    assert all("value" in entry for group in GROUPS for entry in container(group)["env"])
    assert {entry["name"] for group in GROUPS for entry in container(group)["env"]} == {
        "AWS_REGION",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
    }


def test_the_account_that_the_pods_name_is_there_and_the_monitor_names_their_port():
    account = yaml.safe_load((FOLDER / "service-account.yaml").read_text())
    assert {pod(group)["serviceAccountName"] for group in GROUPS} == {account["metadata"]["name"]}
    monitor = yaml.safe_load((FOLDER / "pod-monitor.yaml").read_text())
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"
