import math

import pytest

from models.affinity.pixel_pairs import half_plane_offsets, half_square_offsets, pair_windows, path_cells
from models.errors import InvalidInputError


@pytest.mark.parametrize(("radius", "count", "total_path_cells"), [(5, 34, 242), (10, 152, 2134)])
def test_counts_of_the_released_code(radius, count, total_path_cells):
    offsets = half_plane_offsets(radius)
    assert len(offsets) == count
    assert sum(len(path_cells(offset)) for offset in offsets) == total_path_cells


@pytest.mark.parametrize(("offset", "length"), [((0, 2), 3), ((1, 1), 4), ((2, 2), 7), ((3, -2), 8), ((4, 2), 11)])
def test_path_lengths_of_the_released_code(offset, length):
    assert len(path_cells(offset)) == length


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 7])
def test_half_plane_and_its_mirror_make_the_open_disc(radius):
    half = half_plane_offsets(radius)
    disc = {
        (dy, dx)
        for dy in range(-radius, radius + 1)
        for dx in range(-radius, radius + 1)
        if 0 < math.hypot(dy, dx) < radius
    }
    assert len(set(half)) == len(half)
    assert set(half) | {(-dy, -dx) for dy, dx in half} == disc
    assert half == sorted(half)


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_half_square_and_its_mirror_make_the_window(reach):
    half = half_square_offsets(reach)
    window = {(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)} - {(0, 0)}
    assert set(half) | {(-dy, -dx) for dy, dx in half} == window
    assert len(half) == len(window) // 2


@pytest.mark.parametrize("offset", half_plane_offsets(5))
def test_path_holds_both_ends_and_cells_nearer_than_one_to_the_line(offset):
    dy, dx = offset
    cells = path_cells(offset)
    assert (0, 0) in cells
    assert offset in cells
    for y in range(min(0, dy), max(0, dy) + 1):
        for x in range(min(0, dx), max(0, dx) + 1):
            distance = abs(dy * x - dx * y) / math.hypot(dy, dx)
            assert ((y, x) in cells) == (distance < 1 - 1e-12)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (6, 1), (3, 4)])
@pytest.mark.parametrize("offset", [(0, 2), (1, -2), (2, 0), (3, 3), (-1, 1)])
def test_pair_windows_hold_exactly_the_pairs_on_the_grid(height, width, offset):
    expected = [
        ((y, x), (y + offset[0], x + offset[1]))
        for y in range(height)
        for x in range(width)
        if 0 <= y + offset[0] < height and 0 <= x + offset[1] < width
    ]
    windows = pair_windows(offset, height, width)
    if windows is None:
        assert expected == []
        return
    cells = [
        [(y, x) for y in range(*window[0].indices(height)) for x in range(*window[1].indices(width))]
        for window in windows
    ]
    assert list(zip(*cells, strict=True)) == expected


@pytest.mark.parametrize(
    "call", [lambda: half_plane_offsets(0), lambda: half_square_offsets(0), lambda: path_cells((0, 0))]
)
def test_rejects_degenerate_neighbourhoods(call):
    with pytest.raises(InvalidInputError):
        call()
