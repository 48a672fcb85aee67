"""Pairs of neighbouring grid cells, and the cells on the path between them (IRN, Ahn et al. 2019, section 4.1).

An undirected neighbourhood needs each pair once, so it is described by the offsets `(dy, dx)` of one half plane: to the
right on the same row, or anywhere on a lower row. The same offsets serve the affinity loss and the propagation graph.
"""

from __future__ import annotations

from models.errors import InvalidInputError

Offset = tuple[int, int]
"""`(dy, dx)` in grid cells."""

Window = tuple[slice, slice]
"""Rows and columns of a sub-rectangle of a grid."""


def half_plane_offsets(radius: int) -> list[Offset]:
    """Offsets of one half of the disc `dy^2 + dx^2 < radius^2`, row by row, each row from left to right.

    Args:
        radius: in cells, exclusive: radius 5 reaches 4 cells along an axis and gives 34 offsets, radius 10 gives 152.

    Raises:
        InvalidInputError: the radius is below 1.

    Source: IRN, released code `PathIndex` (the bound is strict).
    """
    if radius < 1:
        msg = f"radius must be at least 1 cell, got {radius}"
        raise InvalidInputError(msg)
    same_row = [(0, dx) for dx in range(1, radius)]
    lower_rows = [
        (dy, dx) for dy in range(1, radius) for dx in range(1 - radius, radius) if dy * dy + dx * dx < radius * radius
    ]
    return same_row + lower_rows


def half_square_offsets(reach: int) -> list[Offset]:
    """Offsets of one half of the square window of `(2 * reach + 1)^2` cells, in the order of `half_plane_offsets`.

    Args:
        reach: largest `|dy|` and `|dx|`, in cells; 2 is the 5x5 window of WSGCN and gives 12 offsets.

    Raises:
        InvalidInputError: the reach is below 1.
    """
    if reach < 1:
        msg = f"reach must be at least 1 cell, got {reach}"
        raise InvalidInputError(msg)
    same_row = [(0, dx) for dx in range(1, reach + 1)]
    return same_row + [(dy, dx) for dy in range(1, reach + 1) for dx in range(-reach, reach + 1)]


def path_cells(offset: Offset) -> list[Offset]:
    """Cells between `(0, 0)` and `offset`, both ends included, in row-major order.

    A cell of the bounding rectangle is on the path when its distance to the straight line is below one cell:
    `(dy * x - dx * y)^2 / (dy^2 + dx^2) < 1`.

    Raises:
        InvalidInputError: the offset is `(0, 0)`.

    Source: IRN, released code `PathIndex`.
    """
    dy, dx = offset
    length_squared = dy * dy + dx * dx
    if length_squared == 0:
        msg = "offset must not be (0, 0): a cell has no path to itself"
        raise InvalidInputError(msg)
    rows, columns = range(min(dy, 0), max(dy, 0) + 1), range(min(dx, 0), max(dx, 0) + 1)
    return [(y, x) for y in rows for x in columns if (dy * x - dx * y) ** 2 < length_squared]


def pair_windows(offset: Offset, height: int, width: int) -> tuple[Window, Window] | None:
    """Windows of the first and of the second cell of every pair inside a `height x width` grid; None if there is none.

    `grid[second]` at a position is the neighbour at `offset` of `grid[first]` at the same position.
    """
    dy, dx = offset
    if abs(dy) >= height or abs(dx) >= width:
        return None
    first = (_overlap(dy, height), _overlap(dx, width))
    second = (_overlap(-dy, height), _overlap(-dx, width))
    return first, second


def _overlap(step: int, size: int) -> slice:
    """Positions `i` of an axis for which `i + step` is on the axis too."""
    return slice(max(0, -step), min(size, size - step))
