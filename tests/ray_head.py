"""A Ray cluster as `ray start` makes it, a head with its job server, and nodes: processes of their own, own folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
STORE_BYTES = 100 * 1024**2
_PORTS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "ray-client-server-port",
    "runtime-env-agent-port",
)
_NODE_PORTS = (
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "runtime-env-agent-port",
)
# Under this id the head is known to Ray's provider of fake nodes, which starts them as processes of this machine.
_FAKE_HEAD_ID = "f" * 51 + "00000"
_FAKE_NODES = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_CLOUD_INSTANCE_ID": _FAKE_HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _FAKE_HEAD_ID,
    "RAY_enable_autoscaler_v2": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}


class RayHead:
    """A head node that runs until `close`.

    Args:
        num_cpus: Logical CPUs of the head; with 0 it takes no work.
        node_types: What a real autoscaler may start: name -> `resources`, `min_workers`, `max_workers`. None for no
            autoscaler. (Ray's own `AutoscalingCluster` needs a file that its wheel does not have.)
        environment: More environment variables, for the nodes, too.
    """

    def __init__(self, num_cpus, *, node_types=None, environment=None):
        self.folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # a socket's path must be short
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self.address = f"http://127.0.0.1:{ports['dashboard-port']}"
        self.gcs_address = f"127.0.0.1:{ports['port']}"
        keep = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        bin_folder = Path(sys.executable).parent
        self.environment = {
            **keep,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",  # the job server finds `python` there
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            "RAY_raylet_start_wait_time_s": "120",  # a busy machine starts slowly
            "COLUMNS": "160",
            **(environment or {}),
        }
        command = [bin_folder / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
        command += [f"--{name}={port}" for name, port in ports.items()]
        command += ["--min-worker-port=0", "--max-worker-port=0", f"--num-cpus={num_cpus}", "--num-gpus=0"]
        command += [f"--object-store-memory={STORE_BYTES}", f"--temp-dir={self.folder}", "--disable-usage-stats"]
        if node_types is not None:
            command.append(f"--autoscaling-config={self._write_autoscaling(node_types, num_cpus)}")
        environment = self.environment | (_FAKE_NODES if node_types is not None else {})
        self.process = _start(command, environment, self.folder / "head.log")
        self._wait()

    def _write_autoscaling(self, node_types, head_cpus):
        lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
        lists += ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files")
        head = {"resources": {"CPU": head_cpus}, "node_config": {}, "max_workers": 0}
        kinds = {name: {"node_config": {}, "min_workers": 0, **kind} for name, kind in node_types.items()}
        config = {
            "cluster_name": "fake",
            "max_workers": 8,
            "idle_timeout_minutes": 0.1,
            "provider": {
                "type": "external",
                "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
                "head_node_id": _FAKE_HEAD_ID,
                "launch_multiple": True,
                "gcs_address": self.gcs_address,
            },
            "available_node_types": {**kinds, "ray.head.default": head},
            "head_node_type": "ray.head.default",
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in (*lists, "rsync_exclude", "rsync_filter")},
            "file_mounts_sync_continuously": False,
        }
        path = self.folder / "autoscaling.json"
        path.write_text(json.dumps(config))
        return path

    def add_node(self, num_cpus, num_gpus=0, *, drain_s=0):
        """Starts a node; it joins within some seconds.

        Args:
            drain_s: How long it stays after it was told to go.
        """
        return RayNode(self.gcs_address, self.environment, self.folder, num_cpus, num_gpus, drain_s=drain_s)

    def _wait(self, timeout_s=90):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "head.log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{self.address}/api/version", timeout=2).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise AssertionError("the head did not come up")

    def kill(self):
        """Kills the head and all nodes at once, as a machine dies."""
        for pid in self.processes():
            _kill(pid)
        self.process.wait()

    def close(self):
        """Ends all processes of this head, whatever their session: all name its folder."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for pid in self.processes():
            _kill(pid)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self):
        """Ids of the processes that name the head's folder in their command line or environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"{self.folder}/".encode() in text and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found


class RayNode:
    """A node beside a head. Its processes are one session: all of them die, freeze or go on together.

    Args:
        gcs_address: Of the cluster.
        environment: Of its processes.
        folder: For its output.
        drain_s: How long it stays after it was told to go.
    """

    def __init__(self, gcs_address, environment, folder, num_cpus, num_gpus=0, *, resources=None, drain_s=0):
        command = [Path(sys.executable).parent / "ray", "start", "--block", f"--address={gcs_address}"]
        command += [f"--num-cpus={num_cpus}", f"--num-gpus={num_gpus}", f"--object-store-memory={STORE_BYTES}"]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"]
        command += [f"--{name}={port}" for name, port in zip(_NODE_PORTS, _free_ports(len(_NODE_PORTS)), strict=True)]
        command.append(f"--resources={json.dumps(resources or {})}")
        self.has_notice = False
        environment = environment | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(drain_s)}
        self.log_path = Path(folder) / f"node-{uuid.uuid4().hex}.log"
        self.process = _start(command, environment, self.log_path)

    def wait_until_joined(self, timeout_s=120):
        """Returns when it is part of the cluster."""
        deadline = time.monotonic() + timeout_s
        while "Ray runtime started" not in self.log_path.read_text():
            assert self.process.poll() is None, self.log_path.read_text()[-3000:]
            log = self.log_path.read_text()[-3000:]
            assert time.monotonic() < deadline, f"the node did not join within {timeout_s} s: {log}"
            time.sleep(0.1)

    def processes(self):
        """Ids of its processes: raylet, agents, workers."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(entry.name)) == self.process.pid:
                    found.append(int(entry.name))
            except OSError:  # it ended meanwhile
                continue
        return found

    def workers(self):
        """Ids of the processes of actors, and of tasks that run."""
        commands = {pid: _command(pid) for pid in self.processes()}
        others = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
        return [pid for pid, text in commands.items() if text.startswith("ray::") and not text.startswith(others)]

    def kill(self):
        """Kills all of it at once, as a machine dies."""
        for pid in self.processes():
            _kill(pid)
        self.process.wait()

    def give_notice(self):
        """Tells it to go, as Kubernetes and the agents of spot nodes do: it drains, and is gone in `drain_s`."""
        self.has_notice = True
        self.process.send_signal(signal.SIGTERM)

    def freeze(self):
        """Stops all of it; nothing is closed, and nothing answers."""
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)


def _start(command, environment, log_path):
    with Path(log_path).open("w") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
