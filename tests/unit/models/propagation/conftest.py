"""Plain, dense, float64 restatements of the graph construction, against which the sparse code is compared."""

import numpy as np
import pytest
import torch

from models.propagation.grid_graph import GridGraph


def dense_affinity(boundary_hw, radius):
    """a_ij = 1 - max of b over the path, by loops over pairs of cells."""
    height, width = boundary_hw.shape
    matrix = np.eye(height * width)
    for y1 in range(height):
        for x1 in range(width):
            for y2 in range(height):
                for x2 in range(width):
                    dy, dx = y2 - y1, x2 - x1
                    if 0 < dy * dy + dx * dx < radius * radius:
                        path = [
                            boundary_hw[y1 + y, x1 + x]
                            for y in range(min(0, dy), max(0, dy) + 1)
                            for x in range(min(0, dx), max(0, dx) + 1)
                            if (dy * x - dx * y) ** 2 / (dy * dy + dx * dx) < 1
                        ]
                        matrix[y1 * width + x1, y2 * width + x2] = 1 - max(path)
    return matrix


def dense_transition(boundary_hw, radius, beta):
    """Column-stochastic T = S D^-1."""
    sharpened = dense_affinity(boundary_hw, radius) ** beta
    return sharpened / sharpened.sum(axis=0, keepdims=True)


def make_graph(height=7, width=9, num_features=6, num_classes=4, seed=0, item_id="item", **changes):
    """A random problem with foreground, background and unlabelled cells."""
    rng = np.random.default_rng(seed)
    label_hw = rng.integers(0, num_classes, (height, width)).astype(np.uint8)
    label_hw[rng.random((height, width)) < 0.6] = 255
    label_hw.flat[0] = 0
    values = {
        "item_id": item_id,
        "features_Dhw": torch.from_numpy(np.maximum(rng.standard_normal((num_features, height, width)), 0)).float(),
        "image_hw3": torch.from_numpy(rng.integers(0, 256, (height, width, 3)).astype(np.uint8)),
        "label_hw": torch.from_numpy(label_hw),
        "num_classes": num_classes,
        "boundary_hw": torch.from_numpy(rng.random((height, width)) ** 3).float(),
    }
    return GridGraph(**(values | changes))


@pytest.fixture
def graph_factory():
    return make_graph


@pytest.fixture
def dense():
    """The dense functions, as one namespace."""

    class Dense:
        affinity = staticmethod(dense_affinity)
        transition = staticmethod(dense_transition)

    return Dense


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
