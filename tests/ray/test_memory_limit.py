"""A node that runs out of memory: Ray's own memory monitor kills the process that eats it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("hungry_driver.py")
ROOM_BYTES = 2 << 30


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(180)
def test_an_item_that_eats_the_node_s_memory_is_quarantined_alone(driver_environment):
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (1024 * int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    threshold = (total - available + ROOM_BYTES) / total
    if threshold > 0.9:
        pytest.skip("this machine has no 2 GiB to spare for the test")
    monitor = {"RAY_memory_usage_threshold": f"{threshold:.3f}", "RAY_memory_monitor_refresh_ms": "100"}
    done = subprocess.run(
        [sys.executable, DRIVER],
        env=driver_environment | monitor,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["num_done"] == 15
    [(item_id, (reason, message))] = found["failed"].items()
    assert (item_id, reason) == ("5", "worker_died")
    assert "memory" in message.lower()
    assert found["deaths"] == 3, "once in its batch, twice alone"
