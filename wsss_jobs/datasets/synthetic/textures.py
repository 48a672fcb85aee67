"""Noise and colour layers on a canvas, from exact arithmetic alone.

Shapes:
    canvas_HW3: float64 RGB in 0..1. noise_HW: float64 in 0..1.
"""

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.synthetic.randomness import HashRandom

Field = NDArray[np.float64]
Colour = tuple[float, float, float]


def noise(random: HashRandom, height: int, width: int, cell_y: float, cell_x: float) -> Field:
    """Smooth value noise [H, W] whose features are about `cell_y` by `cell_x` pixels.

    Random values on a grid, joined by the smoothstep 3t^2 - 2t^3 (K. Perlin, 1985).
    """
    lattice = random.array(int(height / cell_y) + 2, int(width / cell_x) + 2)
    y0, ty = _split(height, cell_y)
    x0, tx = _split(width, cell_x)
    rows = lattice[y0] + (lattice[y0 + 1] - lattice[y0]) * ty[:, None]
    field: Field = rows[:, x0] + (rows[:, x0 + 1] - rows[:, x0]) * tx
    return field


def clouds(random: HashRandom, height: int, width: int, cell_y: float, cell_x: float) -> Field:
    """Three octaves of noise [H, W] in 0..1."""
    field = np.zeros((height, width))
    for octave, weight in enumerate((4 / 7, 2 / 7, 1 / 7)):
        scale = 2.0**-octave
        field += weight * noise(random, height, width, max(cell_y * scale, 1.5), max(cell_x * scale, 1.5))
    return field


def blend(low: Colour, high: Colour, weight_HW: Field) -> Field:
    """Colours [H, W, 3] between two colours."""
    low_3, high_3 = np.array(low), np.array(high)
    colours: Field = low_3 + (high_3 - low_3) * weight_HW[..., None]
    return colours


def ramp(value: Field, start: float, stop: float) -> Field:
    """0 below `start`, 1 above `stop`, smooth between."""
    t = np.clip((value - start) / (stop - start), 0.0, 1.0)
    smooth: Field = t * t * (3.0 - 2.0 * t)
    return smooth


def triangle_wave(value: Field) -> Field:
    """A wave of period 1 that goes 0, 1, 0."""
    fraction = value - np.floor(value)
    wave: Field = 1.0 - np.abs(2.0 * fraction - 1.0)
    return wave


def _split(size: int, cell: float) -> tuple[NDArray[np.intp], Field]:
    position = np.arange(size) / cell
    whole = np.floor(position)
    t = position - whole
    return whole.astype(np.intp), t * t * (3.0 - 2.0 * t)
