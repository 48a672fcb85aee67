"""Backgrounds: five kinds of places, each different in every image.

Shapes:
    canvas_HW3: float64 RGB in 0..1.
"""

from collections.abc import Callable

import numpy as np

from wsss_jobs.datasets.synthetic.randomness import HashRandom
from wsss_jobs.datasets.synthetic.textures import Colour, Field, blend, clouds, noise, ramp, triangle_wave

Scene = Callable[[HashRandom, int, int, float], Field]


def meadow(random: HashRandom, height: int, width: int, texture: float) -> Field:
    """Grass below a cloudy sky, with hills between."""
    canvas_HW3 = _sky(random, height, width)
    horizon = random.uniform(0.22, 0.45) * height
    hills = horizon - 0.14 * height * noise(random, 1, width, 1.0, width / random.uniform(2.0, 4.0))
    hill_colour = blend((0.32, 0.45, 0.38), (0.45, 0.56, 0.40), clouds(random, height, width, 12.0, 30.0))
    _lay(canvas_HW3, hill_colour, hills)
    blades = clouds(random, height, width, 14.0, 3.5)
    patches = clouds(random, height, width, 50.0, 80.0)
    grass = blend((0.20, 0.36, 0.12), (0.52, 0.62, 0.26), _mix(patches, blades, texture))
    _lay(canvas_HW3, grass, np.full((1, width), horizon))
    return canvas_HW3


def desert(random: HashRandom, height: int, width: int, texture: float) -> Field:
    """Rippled sand below a pale sky, with dunes between."""
    canvas_HW3 = _sky(random, height, width, low=(0.86, 0.80, 0.68), high=(0.55, 0.68, 0.80))
    horizon = random.uniform(0.25, 0.45) * height
    dunes = horizon - 0.16 * height * noise(random, 1, width, 1.0, width / random.uniform(1.5, 3.0))
    _lay(canvas_HW3, blend((0.70, 0.55, 0.36), (0.80, 0.66, 0.46), clouds(random, height, width, 8.0, 60.0)), dunes)
    bend = clouds(random, height, width, 60.0, 60.0)
    rows = np.arange(height)[:, None] / random.uniform(9.0, 14.0)
    ripples = triangle_wave(rows + 5.0 * bend)
    sand = _mix(bend, 0.6 * ripples + 0.4 * noise(random, height, width, 2.0, 2.0), texture)
    _lay(canvas_HW3, blend((0.66, 0.50, 0.30), (0.90, 0.76, 0.54), sand), np.full((1, width), horizon))
    return canvas_HW3


def forest(random: HashRandom, height: int, width: int, texture: float) -> Field:
    """Leaf litter before dark trees."""
    leaves = clouds(random, height, width, 16.0, 16.0)
    canvas_HW3 = blend((0.07, 0.14, 0.08), (0.34, 0.46, 0.24), leaves)
    columns = np.arange(width)[None, :]
    bark = clouds(random, height, width, 40.0, 4.0)
    for _ in range(random.integer(3, 6)):
        centre, half = random.uniform(0, width), random.uniform(6.0, 16.0)
        side = (columns - centre) / half + 0.5 * (noise(random, height, width, 60.0, 60.0) - 0.5)
        trunk = blend((0.18, 0.12, 0.08), (0.48, 0.38, 0.28), np.clip(bark * (1.1 - 0.5 * side), 0.0, 1.0))
        covered = np.abs(side) <= 1.0
        canvas_HW3[covered] = trunk[covered]
    horizon = random.uniform(0.40, 0.58) * height
    edge = horizon + 8.0 * noise(random, 1, width, 1.0, 16.0)
    litter = _mix(clouds(random, height, width, 40.0, 60.0), clouds(random, height, width, 6.0, 9.0), texture)
    _lay(canvas_HW3, blend((0.24, 0.16, 0.09), (0.62, 0.44, 0.24), litter), edge)
    return canvas_HW3


def pond(random: HashRandom, height: int, width: int, texture: float) -> Field:
    """Water with light on it, above gravel."""
    depth = np.broadcast_to(np.arange(height)[:, None] / height, (height, width))
    bend = clouds(random, height, width, 50.0, 90.0)
    waves = triangle_wave(np.arange(height)[:, None] / random.uniform(16.0, 26.0) + 4.0 * bend)
    water = np.clip(0.75 - 0.6 * depth + texture * 0.45 * (waves * bend - 0.25), 0.0, 1.0)
    canvas_HW3 = blend((0.06, 0.24, 0.32), (0.46, 0.72, 0.72), water)
    stones = ramp(clouds(random, height, width, 10.0, 14.0), 0.35, 0.65)
    floor = random.uniform(0.72, 0.86) * height - 10.0 * noise(random, 1, width, 1.0, 40.0)
    _lay(canvas_HW3, blend((0.22, 0.26, 0.24), (0.56, 0.56, 0.46), stones), floor)
    return canvas_HW3


def yard(random: HashRandom, height: int, width: int, texture: float) -> Field:
    """A brick wall above paving: regular patterns that mean nothing."""
    brick_height, brick_width = random.uniform(14.0, 20.0), random.uniform(34.0, 46.0)
    rows, columns = np.arange(height)[:, None] / brick_height, np.arange(width)[None, :] / brick_width
    shifted = columns + 0.5 * (np.floor(rows) % 2.0)
    joint = np.minimum(triangle_wave(rows) * brick_height, triangle_wave(shifted) * brick_width) < 3.0
    tint = random.choice(((0.62, 0.36, 0.28), (0.66, 0.58, 0.48), (0.50, 0.50, 0.52)))
    each = random.array(int(height / brick_height) + 2, int(width / brick_width) + 3)
    shade = each[np.floor(rows).astype(int), np.floor(shifted).astype(int)]
    grain = clouds(random, height, width, 8.0, 8.0)
    weight = 0.5 * shade + 0.5 * _mix(grain, grain, texture)
    canvas_HW3 = blend((0.70 * tint[0], 0.70 * tint[1], 0.70 * tint[2]), tint, weight)
    canvas_HW3[joint] = np.array((0.70, 0.68, 0.64)) * (0.8 + 0.3 * grain[joint][:, None])
    ground = random.uniform(0.55, 0.72) * height
    paving = _mix(clouds(random, height, width, 30.0, 70.0), noise(random, height, width, 3.0, 3.0), texture)
    _lay(canvas_HW3, blend((0.38, 0.37, 0.36), (0.62, 0.60, 0.57), paving), np.full((1, width), ground))
    return canvas_HW3


SCENES: dict[str, Scene] = {"meadow": meadow, "desert": desert, "forest": forest, "pond": pond, "yard": yard}


def _sky(
    random: HashRandom, height: int, width: int, low: Colour = (0.80, 0.88, 0.94), high: Colour = (0.38, 0.58, 0.84)
) -> Field:
    depth = np.broadcast_to(1.0 - np.arange(height)[:, None] / (0.6 * height), (height, width))
    canvas_HW3 = blend(low, high, np.clip(depth, 0.0, 1.0))
    cover = random.uniform(0.45, 0.62)
    white_HW1 = ramp(clouds(random, height, width, 24.0, 70.0), cover, cover + 0.22)[..., None]
    sky: Field = canvas_HW3 + (np.array((0.95, 0.95, 0.96)) - canvas_HW3) * white_HW1
    return sky


def _lay(canvas_HW3: Field, layer_HW3: Field, edge_1W: Field) -> None:
    below = np.arange(canvas_HW3.shape[0])[:, None] >= edge_1W
    canvas_HW3[below] = layer_HW3[below]


def _mix(coarse: Field, fine: Field, texture: float) -> Field:
    mixed: Field = np.clip(0.5 + 0.8 * (coarse - 0.5) + 1.2 * texture * (fine - 0.5), 0.0, 1.0)
    return mixed
