import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from models.affinity.connected_components import connected_components

maps = npst.arrays(
    np.uint8, npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14), elements=st.integers(0, 3)
)


def partition(ids):
    """Each cell's first fellow: equal for equal partitions, whatever the numbers."""
    first = {}
    return np.array([first.setdefault(value, position) for position, value in enumerate(ids.ravel())])


@given(maps)
def test_components_are_those_of_scipy_for_every_value(value_hw):
    expected = np.zeros(value_hw.shape, np.int64)
    for value in np.unique(value_hw[value_hw > 0]):
        found, _ = ndimage.label(value_hw == value)  # four neighbours
        expected[found > 0] = found[found > 0] + expected.max()
    components = connected_components(torch.from_numpy(value_hw)).numpy()
    np.testing.assert_array_equal(components == 0, value_hw == 0)
    np.testing.assert_array_equal(partition(components), partition(expected))


@given(maps)
def test_numbers_have_no_gaps_and_follow_the_rows(value_hw):
    components = connected_components(torch.from_numpy(value_hw)).numpy().ravel()
    seen = list(dict.fromkeys(components[components > 0].tolist()))
    assert seen == list(range(1, len(seen) + 1))


@pytest.mark.parametrize("turned", [False, True])
def test_a_long_snake_is_one_component(turned):
    snake = np.ones((41, 40), bool)
    snake[1::4, :-1] = snake[3::4, 1:] = False
    snake = np.ascontiguousarray(snake.T) if turned else snake
    components = connected_components(torch.from_numpy(snake))
    assert components.max() == 1
    assert int((components == 1).sum()) == int(snake.sum())
