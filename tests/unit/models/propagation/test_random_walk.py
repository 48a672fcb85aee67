import subprocess
import sys

import numpy as np
import pytest
import torch

from models.affinity.pixel_pairs import half_plane_offsets
from models.errors import InvalidInputError
from models.propagation.pair_affinity import affinity_from_boundary
from models.propagation.random_walk import PSA_RANDOM_WALK, RandomWalkConfig, random_walk, random_walk_on_affinity


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 12), (9, 1), (3, 4), (8, 11)])
@pytest.mark.parametrize("config", [RandomWalkConfig(), RandomWalkConfig(radius=3, beta=4.5, log2_steps=3)])
def test_equals_the_dense_power_of_the_transition_matrix(height, width, config, dense):
    rng = np.random.default_rng(width)
    boundary_hw = (rng.random((height, width)) ** 4).astype(np.float32).astype(np.float64)
    scores_Khw = rng.random((3, height, width))
    transition = dense.transition(boundary_hw, config.radius, config.beta)
    start = (scores_Khw * (1 - boundary_hw)).reshape(3, -1)
    expected = start @ np.linalg.matrix_power(transition, 2**config.log2_steps)
    scores = random_walk(torch.from_numpy(scores_Khw).float(), torch.from_numpy(boundary_hw).float(), config)
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores.reshape(3, -1).numpy(), expected, rtol=1e-6)
    scores = random_walk(torch.from_numpy(scores_Khw), torch.from_numpy(boundary_hw), config)
    np.testing.assert_allclose(scores.reshape(3, -1).numpy(), expected, rtol=1e-11)


def whole_transition(boundary_hw, radius, beta):
    """T = S D^-1, offset by offset: the loops of `dense` would take minutes on so many cells."""
    height, width = boundary_hw.shape
    rows, columns = np.mgrid[:height, :width]
    matrix = np.eye(height * width)
    for dy in range(-radius + 1, radius):
        for dx in range(-radius + 1, radius):
            if not 0 < dy * dy + dx * dx < radius * radius:
                continue
            inside = (rows + dy >= 0) & (rows + dy < height) & (columns + dx >= 0) & (columns + dx < width)
            y, x = rows[inside], columns[inside]
            path = [
                boundary_hw[y + step_y, x + step_x]
                for step_y in range(min(0, dy), max(0, dy) + 1)
                for step_x in range(min(0, dx), max(0, dx) + 1)
                if (dy * step_x - dx * step_y) ** 2 / (dy * dy + dx * dx) < 1
            ]
            matrix[y * width + x, (y + dy) * width + x + dx] = (1 - np.max(path, axis=0)) ** beta
    return matrix / matrix.sum(axis=0, keepdims=True)


@pytest.mark.parametrize(
    ("height", "width"), [(47, 63), pytest.param(94, 125, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_the_sparse_walk_is_the_dense_one_on_the_grids_of_a_voc_image(height, width):
    """500 x 375 pixels at stride 8 and at stride 4; the dense matrix is squared eight times, as both codes do.

    They do it in float32, which alone makes differences of 5e-4; here the dense side is in float64.
    """
    rng = np.random.default_rng(0)
    boundary_hw = (rng.random((height, width)) ** 4).astype(np.float32)
    scores_Khw = rng.random((3, height, width), dtype=np.float32)
    power = torch.from_numpy(whole_transition(boundary_hw.astype(np.float64), 5, 10.0))
    for _ in range(8):
        power = power @ power
    expected = torch.from_numpy(scores_Khw * (1 - boundary_hw)).double().flatten(1) @ power
    scores = random_walk(torch.from_numpy(scores_Khw), torch.from_numpy(boundary_hw), RandomWalkConfig())
    relative = ((scores.flatten(1) - expected).abs() / expected).max().item()
    assert relative < 1e-6  # the aim is 5e-4


def test_psa_walk_has_no_boundary_factor(dense):
    rng = np.random.default_rng(0)
    boundary_hw, scores_Khw = rng.random((5, 7)) ** 4, rng.random((2, 5, 7))
    planes_Phw = affinity_from_boundary(torch.from_numpy(boundary_hw), half_plane_offsets(5))
    expected = scores_Khw.reshape(2, -1) @ np.linalg.matrix_power(dense.transition(boundary_hw, 5, 8.0), 256)
    scores = random_walk_on_affinity(torch.from_numpy(scores_Khw), planes_Phw)
    np.testing.assert_allclose(scores.reshape(2, -1).numpy(), expected, rtol=1e-11)
    assert PSA_RANDOM_WALK.beta == 8.0


def test_a_wall_keeps_scores_apart():
    boundary_hw = torch.zeros(6, 9)
    boundary_hw[:, 4] = 1.0
    scores_Khw = torch.zeros(1, 6, 9)
    scores_Khw[0, 2, 1] = 1.0
    scores = random_walk(scores_Khw, boundary_hw)[0]
    assert scores[:, :4].min() > 0.01
    assert scores[:, 4:].abs().max() == 0


def test_result_is_an_average_of_the_start():
    """T is column-stochastic and acts from the right, so constants stay constant."""
    scores = random_walk(torch.full((1, 10, 12), 0.7), torch.rand(10, 12), RandomWalkConfig(damp_boundary=False))
    torch.testing.assert_close(scores, torch.full((1, 10, 12), 0.7), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("scores", "boundary", "message"),
    [
        (torch.full((1, 3, 3), float("nan")), torch.zeros(3, 3), "scores_Khw holds NaN"),
        (torch.zeros(1, 3, 3), torch.full((3, 3), float("nan")), "boundary_hw holds NaN"),
        (torch.zeros(1, 3, 3), torch.full((3, 3), 1.5), "boundary_hw must be in 0..1"),
        (torch.zeros(1, 3, 4), torch.zeros(3, 3), "on the grid of boundary_hw"),
        (torch.zeros(0, 3, 3), torch.zeros(3, 3), "non-empty"),
    ],
)
def test_rejects_bad_input_by_name(scores, boundary, message):
    with pytest.raises(InvalidInputError, match=message):
        random_walk(scores, boundary)


def test_rejects_planes_of_another_radius():
    with pytest.raises(InvalidInputError, match="34 planes"):
        random_walk_on_affinity(torch.zeros(1, 3, 3), torch.zeros(12, 3, 3))


@pytest.mark.parametrize("changes", [{"radius": 1}, {"beta": 0.0}, {"log2_steps": 21}])
def test_config_rejects(changes):
    with pytest.raises(InvalidInputError, match=next(iter(changes))):
        RandomWalkConfig(**changes)


def test_an_image_of_2048_by_2048_fits_in_2_gib():
    """Peak of the whole process, PyTorch included, on a 512x512 grid; the peak does not depend on the steps."""
    program = (
        "import torch\n"
        "from models.propagation.random_walk import RandomWalkConfig, random_walk\n"
        "random_walk(torch.rand(4, 512, 512), torch.rand(512, 512), RandomWalkConfig(log2_steps=1))\n"
        # not ru_maxrss, which survives fork and exec and would start at pytest's own peak
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=200)
    assert int(answer.stdout) / 2**20 < 2.0
