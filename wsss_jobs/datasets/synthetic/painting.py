"""Painting parts and patterns onto a canvas that is twice as fine as the image.

Shapes:
    canvas_HW3: float64 RGB in 0..1. label_HW: uint8 class ids of what is painted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.synthetic.randomness import HashRandom
from wsss_jobs.datasets.synthetic.shapes import Part, Pattern
from wsss_jobs.datasets.synthetic.textures import Colour, Field, clouds, noise, triangle_wave

_ACCENTS: dict[str, Colour] = {"black": (0.08, 0.07, 0.07), "white": (0.93, 0.92, 0.88), "orange": (0.90, 0.55, 0.15)}
_TONES = {"body": 1.0, "dark": 0.72, "light": 1.18}
_LIGHT = (-0.45, -0.80)  # from the upper left
_WOBBLE = 0.05
_PATTERN_PERIODS = 3.2  # how often a pattern repeats across a part of half-width 0.5


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an object is on the canvas.

    Args:
        x: Centre, in canvas pixels.
        y: Centre, in canvas pixels.
        size: Half its length, in canvas pixels.
        turn: Tangent of half its rotation, clockwise.
        flip: Whether it looks to the left.
    """

    x: float
    y: float
    size: float
    turn: float
    flip: bool


@dataclass(frozen=True, slots=True)
class Paint:
    """What an object is painted with.

    Args:
        colour: Of its body.
        mark_contrast: See `SyntheticStyle`.
        texture: See `SyntheticStyle`.
    """

    colour: Colour
    mark_contrast: float
    texture: float


@dataclass(frozen=True)
class Canvas:
    """An image in the making.

    Shapes:
        colour_HW3: float64 RGB in 0..1, at twice the image's resolution.
        label_HW: uint8 class ids.
    """

    colour_HW3: Field
    label_HW: NDArray[np.uint8]

    def window(self, pose: Pose) -> tuple[slice, slice]:
        """The rows and columns that an object can touch."""
        reach = pose.size * 1.35
        height, width = self.label_HW.shape
        rows = slice(max(int(pose.y - reach), 0), max(min(int(pose.y + reach) + 1, height), 0))
        columns = slice(max(int(pose.x - reach), 0), max(min(int(pose.x + reach) + 1, width), 0))
        return rows, columns


def paint_object(
    canvas: Canvas, parts: tuple[Part, ...], pose: Pose, paint: Paint, label: int, random: HashRandom
) -> None:
    """Paint an object over what is there; label 0 makes it part of the background."""
    window = canvas.window(pose)
    height, width = canvas.label_HW[window].shape
    if height < 2 or width < 2:
        return
    u_HW, v_HW = _object_frame(pose, window, random)
    surface_HW = _surface(random, height, width, paint.texture)
    covered_HW = np.zeros((height, width), dtype=bool)
    colour_HW3 = canvas.colour_HW3[window]
    for part in parts:
        a_HW, b_HW = part_frame(part, u_HW, v_HW)
        inside_HW = is_inside(part, a_HW, b_HW)
        if part.inside:
            inside_HW &= covered_HW
        covered_HW |= inside_HW
        painted_HW3 = _part_colours(part, a_HW, b_HW, paint, surface_HW)
        colour_HW3[inside_HW] = painted_HW3[inside_HW]
    canvas.label_HW[window][covered_HW] = label


def part_frame(part: Part, u_HW: Field, v_HW: Field) -> tuple[Field, Field]:
    """Coordinates in which a part reaches from -1 to 1."""
    cosine, sine = rotation(part.turn)
    dx_HW, dy_HW = u_HW - part.x, v_HW - part.y
    return (cosine * dx_HW + sine * dy_HW) / part.rx, (cosine * dy_HW - sine * dx_HW) / part.ry


def is_inside(part: Part, a_HW: Field, b_HW: Field) -> NDArray[np.bool_]:
    """Where a part is, in its own frame."""
    a2_HW, b2_HW = a_HW * a_HW, b_HW * b_HW
    if part.outline == "box":
        return np.asarray(a2_HW * a2_HW * a2_HW + b2_HW * b2_HW * b2_HW <= 1.0)
    if part.outline == "triangle":
        return np.asarray((b_HW <= 1.0) & (2.0 * np.abs(a_HW) - b_HW <= 1.0))
    round_HW = a2_HW + b2_HW <= 1.0
    return np.asarray(round_HW & (b_HW <= 0.1) if part.outline == "dome" else round_HW)


def rotation(turn: float) -> tuple[float, float]:
    """Cosine and sine of the angle whose half has this tangent."""
    return (1.0 - turn * turn) / (1.0 + turn * turn), 2.0 * turn / (1.0 + turn * turn)


def pattern_of(kind: Pattern, p_HW: Field, q_HW: Field) -> Field:
    """A pattern, 0 or 1, over coordinates in which it repeats about once a unit; `plain` is 0 everywhere."""
    return _PATTERNS[kind](p_HW, q_HW).astype(np.float64)


def _dots(p_HW: Field, q_HW: Field) -> NDArray[np.bool_]:
    shifted_HW = p_HW + 0.5 * (np.floor(q_HW) % 2.0)
    dx_HW = shifted_HW - np.floor(shifted_HW) - 0.5
    dy_HW = q_HW - np.floor(q_HW) - 0.5
    return np.asarray(dx_HW * dx_HW + dy_HW * dy_HW < 0.09)


def _lattice(p_HW: Field, q_HW: Field) -> NDArray[np.bool_]:
    return np.asarray(np.maximum(triangle_wave(p_HW + q_HW), triangle_wave(p_HW - q_HW)) > 0.72)


_PATTERNS: dict[Pattern, Callable[[Field, Field], NDArray[np.bool_]]] = {
    "plain": lambda p_HW, _q_HW: np.zeros(p_HW.shape, dtype=bool),
    "dots": _dots,
    "stripes": lambda p_HW, _q_HW: triangle_wave(p_HW) > 0.5,
    "rings": lambda p_HW, q_HW: triangle_wave(np.sqrt(p_HW * p_HW + q_HW * q_HW)) > 0.5,
    "checks": lambda p_HW, q_HW: (np.floor(2.0 * p_HW) + np.floor(2.0 * q_HW)) % 2.0 > 0.5,
    "zigzag": lambda p_HW, q_HW: triangle_wave(q_HW * 1.4 + 0.7 * triangle_wave(p_HW)) > 0.5,
    "lattice": _lattice,
}


def _object_frame(pose: Pose, window: tuple[slice, slice], random: HashRandom) -> tuple[Field, Field]:
    rows, columns = window
    y_H1 = (np.arange(rows.start, rows.stop) + 0.5 - pose.y)[:, None] / pose.size
    x_1W = (np.arange(columns.start, columns.stop) + 0.5 - pose.x)[None, :] / pose.size
    cosine, sine = rotation(pose.turn)
    u_HW = cosine * x_1W + sine * y_H1
    v_HW = cosine * y_H1 - sine * x_1W
    height, width = u_HW.shape
    cell = pose.size * 0.6
    wobble_2HW = [noise(random, height, width, cell, cell) - 0.5 for _ in range(2)]
    u_HW = (-u_HW if pose.flip else u_HW) + _WOBBLE * 2.0 * wobble_2HW[0]
    return u_HW, v_HW + _WOBBLE * 2.0 * wobble_2HW[1]


def _surface(random: HashRandom, height: int, width: int, texture: float) -> Field:
    mottle_HW = clouds(random, height, width, 18.0, 18.0) - 0.5
    grain_HW = noise(random, height, width, 2.0, 2.0) - 0.5
    return 1.0 + texture * (0.45 * mottle_HW + 0.22 * grain_HW)


def _part_colours(part: Part, a_HW: Field, b_HW: Field, paint: Paint, surface_HW: Field) -> Field:
    base_3 = np.array(_ACCENTS.get(part.tone) or tuple(_TONES[part.tone] * value for value in paint.colour))
    scale_p, scale_q = _PATTERN_PERIODS * part.rx, _PATTERN_PERIODS * part.ry
    mark_HW = pattern_of(part.pattern, a_HW * scale_p, b_HW * scale_q)
    if part.pattern == "plain":
        colour_HW3 = np.broadcast_to(base_3, (*a_HW.shape, 3))
    else:
        colour_HW3 = _marked(base_3, mark_HW, paint.mark_contrast)
    r2_HW = np.minimum(a_HW * a_HW + b_HW * b_HW, 1.5)
    light_HW = 1.0 + 0.20 * (_LIGHT[0] * a_HW + _LIGHT[1] * b_HW) - 0.12 * r2_HW
    shaded: Field = colour_HW3 * (light_HW * surface_HW)[..., None]
    return shaded


def _marked(base_3: NDArray[np.float64], mark_HW: Field, contrast: float) -> Field:
    # The pattern swings around the body's colour, towards black and towards white, so the marked part keeps its hue.
    dark_3 = base_3 * (1.0 - 0.75 * contrast)
    light_3 = base_3 + (1.0 - base_3) * contrast
    colours: Field = dark_3 + (light_3 - dark_3) * mark_HW[..., None]
    return colours


def distance(first: Colour, second: Colour) -> float:
    """Euclidean distance of two colours."""
    return sqrt(sum((one - other) * (one - other) for one, other in zip(first, second, strict=True)))
