"""Outlines of a mask along the edges of its pixels: polygons that cover exactly its pixels.

A polygon's corners lie on corners of pixels: pixel (x, y) covers [x, x + 1] x [y, y + 1]. Parts are 4-connected. A hole
is joined to its part by a cut of no width (a "keyhole"), because formats such as COCO's know no holes: the polygon goes
along the cut twice, in opposite directions, and an even-odd or non-zero fill leaves the hole empty.

Shapes:
    mask_HW: bool.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]  # x, y
Cuts = Mapping[tuple[int, int], Sequence[int]]  # (loop, corner where an edge begins) -> holes cut through to that edge
_RIGHT, _DOWN, _LEFT, _UP = range(4)


def outlines(mask_HW: NDArray[np.bool_]) -> list[list[Point]]:
    """One polygon a 4-connected part, the part's pixels on the right of its way; highest, then leftmost parts first."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if not rows.size:
        return []
    x, y = int(columns[0]), int(rows[0])
    box_HW = mask_HW[y : int(rows[-1]) + 1, x : int(columns[-1]) + 1]
    loops = [[(left + x, top + y) for left, top in loop] for loop in _loops(box_HW)]
    cuts = _cuts(loops, mask_HW.shape)
    return [_with_holes(index, loops, cuts) for index, loop in enumerate(loops) if _is_outer(loop)]


def _loops(mask_HW: NDArray[np.bool_]) -> list[list[Point]]:
    """All boundaries as closed loops of corners, each from its highest, then leftmost corner."""
    y, x, came, goes = _corners(mask_HW)
    following = np.empty(len(y), dtype=np.int64)
    for direction in (_RIGHT, _DOWN, _LEFT, _UP):
        # Edges of one direction on one line do not overlap: the i-th that starts is the i-th that ends.
        starts, ends = np.flatnonzero(goes == direction), np.flatnonzero(came == direction)
        line, along = (y, x) if direction in (_RIGHT, _LEFT) else (x, y)
        starts = starts[np.lexsort((along[starts], line[starts]))]
        ends = ends[np.lexsort((along[ends], line[ends]))]
        following[starts] = ends
    return _cycles(following.tolist(), list(zip(x.tolist(), y.tolist(), strict=True)))


def _corners(mask_HW: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """y, x, direction of arrival and of departure of all corners, row-major; the mask is on the right of the way.

    Where two parts touch at a corner there are two entries, each of which turns right and so stays at its part.
    """
    padded = np.pad(mask_HW, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]  # around a corner: a b / c d
    came = np.stack([~a & c, a & ~b, b & ~d, ~c & d])
    goes = np.stack([~b & d, c & ~d, a & ~c, ~a & b])
    turns = [(came[i] & goes[(i + 1) % 4], i, (i + 1) % 4) for i in range(4)]
    turns += [(came[i] & goes[(i - 1) % 4] & ~goes[(i + 1) % 4], i, (i - 1) % 4) for i in range(4)]
    entries = [np.stack([*np.nonzero(at), *np.full((2, int(at.sum())), [[i], [o]])]) for at, i, o in turns]
    found = np.concatenate(entries, axis=1)
    y, x, came_by, goes_by = found[:, np.lexsort((found[2], found[1], found[0]))]
    return y, x, came_by, goes_by


def _cycles(following: list[int], points: list[Point]) -> list[list[Point]]:
    seen = [False] * len(points)
    loops = []
    for start in range(len(points)):
        loop, at = [], start
        while not seen[at]:
            seen[at] = True
            loop.append(points[at])
            at = following[at]
        if loop:
            loops.append(loop)
    return loops


def _is_outer(loop: list[Point]) -> bool:
    # An outline leaves its highest, then leftmost corner to the right; a hole's boundary leaves it downwards.
    return loop[1][1] == loop[0][1]


def _cuts(loops: Sequence[list[Point]], size_hw: tuple[int, ...]) -> Cuts:
    """Where each hole is joined: its first corner is cut through to the left, up to the next boundary.

    Above a hole's highest row all is inside, so the run of that row which the corner lies on ends at a left edge of the
    same part: of its outline, or of a hole whose top is higher.
    """
    edges = [
        (index, corner, x, next_y, y)
        for index, loop in enumerate(loops)
        for corner, ((x, y), (next_x, next_y)) in enumerate(zip(loop, loop[1:] + loop[:1], strict=True))
        if next_x == x and next_y < y
    ]
    edge_at = np.zeros(size_hw, dtype=np.int32)  # at pixels with a left edge: 1 + its index
    for number, (_, _, x, top, bottom) in enumerate(edges, start=1):
        edge_at[top:bottom, x] = number
    cuts: dict[tuple[int, int], list[int]] = defaultdict(list)
    for hole, loop in enumerate(loops):
        if not _is_outer(loop):
            x, y = loop[0]
            row = edge_at[y - 1, : x + 1]
            index, corner, *_ = edges[row[np.flatnonzero(row)[-1]] - 1]
            cuts[index, corner].append(hole)
    return cuts


def _with_holes(outline: int, loops: Sequence[list[Point]], cuts: Cuts) -> list[Point]:
    """An outline with all holes of its part, each within the edge that it is cut through to."""
    polygon: list[Point] = []
    ways = [_way(outline, loops, cuts)]
    while ways:  # a stack and no recursion: holes can hang on each other by the thousand
        step = next(ways[-1], None)
        if step is None:
            ways.pop()
        elif isinstance(step, int):
            ways.append(_way(step, loops, cuts))
        elif polygon[-1:] != [step]:
            polygon.append(step)
    return polygon


def _way(index: int, loops: Sequence[list[Point]], cuts: Cuts) -> Iterator[Point | int]:
    """The corners of a loop; between those of an edge with cuts, their ends and the holes behind them."""
    loop = loops[index]
    for corner, point in enumerate(loop):
        yield point
        for hole in sorted(cuts.get((index, corner), ()), key=lambda hole: -loops[hole][0][1]):  # the way goes up
            end = (point[0], loops[hole][0][1])
            yield from (end, hole, end)
    if not _is_outer(loop):
        yield loop[0]
