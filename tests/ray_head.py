"""A Ray head with its job server, as `ray start --head` makes it: processes of their own, own ports, own folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
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


class RayHead:
    """A head node that runs until `close`."""

    def __init__(self, num_cpus, *, autoscaling_config=None):
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
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            "COLUMNS": "160",
        }
        command = [bin_folder / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
        command += [f"--{name}={port}" for name, port in ports.items()]
        command += ["--min-worker-port=0", "--max-worker-port=0", f"--num-cpus={num_cpus}", "--num-gpus=0"]
        command += [f"--object-store-memory={STORE_BYTES}", f"--temp-dir={self.folder}", "--disable-usage-stats"]
        command += [f"--autoscaling-config={autoscaling_config}"] if autoscaling_config else []
        with (self.folder / "head.log").open("w") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

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

    def close(self):
        """Ends all processes of this head, whatever their session: all name its folder."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
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


def _free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
