"""Geometry of the report's small charts; the template draws them as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 240.0, 110.0
_TOP, _BOTTOM, _LEFT, _RIGHT = 10.0, 8.0, 8.0, 8.0


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram.

    Attributes:
        low: Lower end of its interval, in [0, 1]; the upper end is the next bar's.
        high: Upper end.
        num_images: Images in it.
        height: Share of the tallest bar.
    """

    low: float
    high: float
    num_images: int
    height: float


@dataclass(frozen=True)
class Histogram:
    """How images spread over [0, 1]."""

    bars: tuple[Bar, ...]
    mean: float
    num_images: int


@dataclass(frozen=True)
class Curve:
    """A line over the epochs, in a box of `WIDTH` x `HEIGHT`.

    Attributes:
        points: (x, y) in the box, y downwards.
        path: The same as an SVG path.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    path: str
    first: float
    last: float
    lowest: float
    highest: float


def histogram(values: Sequence[float], num_bars: int = 20) -> Histogram | None:
    """Returns the histogram of fractions, or None without any; values outside [0, 1] count at its ends."""
    finite = [min(max(value, 0.0), 1.0) for value in values if math.isfinite(value)]
    if not finite:
        return None
    counts = [0] * num_bars
    for value in finite:
        counts[min(int(value * num_bars), num_bars - 1)] += 1
    bars = tuple(Bar(i / num_bars, (i + 1) / num_bars, n, n / max(counts)) for i, n in enumerate(counts))
    return Histogram(bars, sum(finite) / len(finite), len(finite))


def curve(name: str, values: Sequence[float], limits: tuple[float, float] | None = None) -> Curve | None:
    """Returns the curve of one value an epoch, or None where none is finite; gaps are drawn over.

    Args:
        limits: Lower and upper end of the vertical axis, for curves in one box; None: from the least to the greatest.
    """
    known = [(index, value) for index, value in enumerate(values) if math.isfinite(value)]
    if not known:
        return None
    numbers = [value for _, value in known]
    lowest, highest = min(numbers), max(numbers)
    low, high = limits or (lowest, highest)
    points = tuple((_x(index, len(values)), _y(value, low, high)) for index, value in known)
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return Curve(name, points, path, numbers[0], numbers[-1], lowest, highest)


def _x(index: int, num_values: int) -> float:
    share = index / (num_values - 1) if num_values > 1 else 0.5
    return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)


def _y(value: float, lowest: float, highest: float) -> float:
    share = (value - lowest) / (highest - lowest) if highest > lowest else 0.5
    return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)
