import subprocess
import sys
from pathlib import Path

import pytest

from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.memory import memory_mib, memory_mib_of_size

# In a process of its own, and by VmHWM: ru_maxrss survives fork and exec, so it would start at pytest's own peak.
PROGRAM = """
import torch
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.memory import memory_mib
from models.propagation.gcn.solve import solve_batch
from models.propagation.grid_graph import GridGraph

def graph(size, num_features):
    label_hw = torch.full((size, size), 255, dtype=torch.uint8)
    label_hw[:2] = 0
    label_hw[-2:] = 1
    image_hw3 = torch.zeros(size, size, 3, dtype=torch.uint8)
    features_Dhw = torch.rand(num_features, size, size)
    return GridGraph("a", features_Dhw, image_hw3, label_hw, 21, boundary_hw=torch.rand(size, size))

def mib(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024

config = GCNConfig(num_steps=1, backend={backend!r})
solve_batch([graph(8, 8)], config)
before = mib("VmRSS:")
problem = graph({size}, 96)
solve_batch([problem], config)
print(mib("VmHWM:") - before, memory_mib(problem, config))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
@pytest.mark.parametrize(("backend", "size"), [("native", 200), ("torch", 200), ("reference", 100)])
def test_prediction_covers_the_measured_peak_and_is_not_idle_talk(backend, size):
    program = PROGRAM.format(backend=backend, size=size)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=200)
    if "was not built" in answer.stderr:
        pytest.skip("the native library was not built on this machine")
    assert answer.returncode == 0, answer.stderr
    measured_mib, predicted_mib = (float(word) for word in answer.stdout.split())
    assert measured_mib <= predicted_mib <= 2.0 * measured_mib


def test_largest_supported_image_is_bounded_with_sparse_graphs():
    """2048 x 2048 at stride 4, 160 features, 21 classes."""
    assert memory_mib_of_size(512, 512, 160, 21, GCNConfig(backend="torch")) < 2000


def test_dense_walk_grows_with_the_square_of_the_cells():
    config = GCNConfig(backend="torch", graph=AffinityGraphConfig(graph="walk"))
    assert memory_mib_of_size(94, 125, 160, 21, config) > 3 * 11_750**2 * 4 / 2**20


def test_truncated_walk_stays_sparse():
    config = GCNConfig(backend="torch", graph=AffinityGraphConfig(graph="truncated"))
    assert memory_mib_of_size(94, 125, 160, 21, config) < 500


def test_size_and_graph_agree(graph_factory):
    config = GCNConfig(backend="torch")
    assert memory_mib(graph_factory(9, 14, num_features=7), config) == memory_mib_of_size(9, 14, 7, 4, config)
