"""A box around the largest part of a map, for every threshold at once (WSOL; Zhou et al., CVPR 2016).

Going down the thresholds, cells only ever join: a union-find over the cells in the order of their values knows the
largest connected part (four neighbours) of each threshold after one pass.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Box(NamedTuple):
    """A box in px (or cells): left, top, width, height."""

    x: int
    y: int
    width: int
    height: int

    def iou(self, other: Sequence[float]) -> float:
        """Returns the intersection over union with another box `(x, y, width, height)`."""
        across = min(self.x + self.width, other[0] + other[2]) - max(self.x, other[0])
        down = min(self.y + self.height, other[1] + other[3]) - max(self.y, other[1])
        common = max(across, 0.0) * max(down, 0.0)
        union = self.width * self.height + other[2] * other[3] - common
        return float(common / union) if union > 0 else 0.0

    def in_pixels(self, stride: int, size_hw: Sequence[int]) -> "Box":
        """Returns the pixels that a box of grid cells covers, cut at the image's border."""
        right = min((self.x + self.width) * stride, size_hw[1])
        bottom = min((self.y + self.height) * stride, size_hw[0])
        return Box(self.x * stride, self.y * stride, right - self.x * stride, bottom - self.y * stride)


def largest_boxes(map_hw: NDArray[np.floating], thresholds: Sequence[float]) -> list[Box | None]:
    """Returns, for each threshold, the box of the largest part where `map >= threshold`; None where there is none.

    Of several parts of one size, the one with the first cell in row-major order.
    """
    parts = _Parts(map_hw.shape)
    order = np.argsort(-map_hw, axis=None, kind="stable")
    values = map_hw.reshape(-1)[order].tolist()
    cells = order.tolist()
    found: dict[float, Box | None] = {}
    next_cell = 0
    for threshold in sorted(set(thresholds), reverse=True):
        while next_cell < len(cells) and values[next_cell] >= threshold:
            parts.add(cells[next_cell])
            next_cell += 1
        found[threshold] = parts.largest_box()
    return [found[threshold] for threshold in thresholds]


class _Parts:
    """Connected parts of a growing set of cells."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._height, self._width = shape
        self._parent: dict[int, int] = {}
        self._size: dict[int, int] = {}
        self._bounds: dict[int, tuple[int, int, int, int]] = {}  # first row, last row, first column, last column
        self._first: dict[int, int] = {}
        self._touched: set[int] = set()
        self._largest: int | None = None

    def add(self, cell: int) -> None:
        """Adds a cell and joins it to its neighbours."""
        row, column = divmod(cell, self._width)
        self._parent[cell], self._size[cell], self._first[cell] = cell, 1, cell
        self._bounds[cell] = (row, row, column, column)
        self._touched.add(cell)
        if column > 0:
            self._join(cell, cell - 1)
        if column < self._width - 1:
            self._join(cell, cell + 1)
        if row > 0:
            self._join(cell, cell - self._width)
        if row < self._height - 1:
            self._join(cell, cell + self._width)

    def largest_box(self) -> Box | None:
        """Returns the box of the largest part; only parts that grew since the last call can have become it."""
        candidates = {self._root(cell) for cell in self._touched}
        if self._largest is not None:
            candidates.add(self._root(self._largest))
        self._touched.clear()
        if not candidates:
            return None
        self._largest = min(candidates, key=lambda root: (-self._size[root], self._first[root]))
        top, bottom, left, right = self._bounds[self._largest]
        return Box(left, top, right - left + 1, bottom - top + 1)

    def _join(self, cell: int, neighbour: int) -> None:
        if neighbour not in self._parent:
            return
        big, small = self._root(cell), self._root(neighbour)
        if big == small:
            return
        if self._size[big] < self._size[small]:
            big, small = small, big
        self._parent[small] = big
        self._size[big] += self._size[small]
        self._first[big] = min(self._first[big], self._first[small])
        mine, other = self._bounds[big], self._bounds[small]
        self._bounds[big] = (
            min(mine[0], other[0]),
            max(mine[1], other[1]),
            min(mine[2], other[2]),
            max(mine[3], other[3]),
        )

    def _root(self, cell: int) -> int:
        while self._parent[cell] != cell:
            self._parent[cell] = self._parent[self._parent[cell]]
            cell = self._parent[cell]
        return cell
