"""One generated image and its mask: a place, things without a tag, and objects of the six classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.datasets.synthetic.painting import Canvas, Paint, Pose, distance, paint_object
from wsss_jobs.datasets.synthetic.randomness import HashRandom
from wsss_jobs.datasets.synthetic.scenery import SCENES
from wsss_jobs.datasets.synthetic.shapes import SHAPES, SYNTHETIC_CLASSES, Part
from wsss_jobs.datasets.synthetic.style import SyntheticStyle
from wsss_jobs.datasets.synthetic.textures import Colour, Field

_FINENESS = 2  # canvas pixels an image pixel, along each side
_PALETTE: tuple[Colour, ...] = (
    (0.74, 0.33, 0.24), (0.84, 0.62, 0.24), (0.50, 0.54, 0.24), (0.24, 0.50, 0.50),
    (0.34, 0.42, 0.66), (0.56, 0.32, 0.50), (0.88, 0.80, 0.66), (0.46, 0.32, 0.22),
    (0.62, 0.62, 0.62), (0.80, 0.50, 0.50),
)  # fmt: skip
_LIKED_SCENES = {
    "bird": ("meadow", "pond"), "cactus": ("desert", "yard"), "fish": ("pond",),
    "house": ("meadow", "desert"), "mushroom": ("forest",), "snail": ("yard", "forest"),
}  # fmt: skip
_BOULDER = (Part("ellipse", 0.0, 0.2, 0.9, 0.6),)
_LOG = (Part("box", 0.0, 0.0, 1.0, 0.24), Part("ellipse", 0.92, 0.0, 0.14, 0.24, tone="light"))
_BUSH = tuple(
    Part("ellipse", x, y, r, r) for x, y, r in ((-0.5, 0.1, 0.4), (0.45, 0.15, 0.42), (0.0, -0.2, 0.5), (0.0, 0.3, 0.5))
)
_SHADOW = (Part("ellipse", 0.0, 0.0, 0.95, 0.22),)
_LEAST_GAP = 0.62  # centres of two objects are at least this part of the sum of their half-lengths apart
_PLACING_ATTEMPTS = 40
_COLOUR_ATTEMPTS = 24


@dataclass(frozen=True, slots=True)
class _Placed:
    class_name: str
    pose: Pose


def paint_scene(seed: int, number: int, style: SyntheticStyle) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image `number` of a seed, and its mask.

    Shapes:
        returns image_HW3 uint8, label_HW uint8.
    """
    random = HashRandom(seed, number)
    names = _class_names_of(seed, number, style, random)
    canvas = _background(names[0], style, random)
    _add_distractors(canvas, style, random)
    for placed in sorted(_places(names, canvas, style, random), key=lambda placed: placed.pose.y):
        _add_object(canvas, placed, style, random)
    return _develop(canvas, style, random), _coarse_labels(canvas.label_HW)


def _class_names_of(seed: int, number: int, style: SyntheticStyle, random: HashRandom) -> list[str]:
    # The first objects go through the classes in turn, so every class has its share in every small set.
    turn, place = divmod(number, len(SYNTHETIC_CLASSES))
    names = [HashRandom(seed, "order", turn).shuffled(SYNTHETIC_CLASSES)[place]]
    while len(names) < style.max_objects and random.chance(0.5):
        names.append(random.choice(SYNTHETIC_CLASSES))
    return names


def _background(first: str, style: SyntheticStyle, random: HashRandom) -> Canvas:
    scene = random.choice(_LIKED_SCENES[first]) if random.chance(style.context) else random.choice(tuple(SCENES))
    height, width = _FINENESS * style.height_px, _FINENESS * style.width_px
    colour_HW3 = SCENES[scene](random, height, width, style.texture)
    return Canvas(colour_HW3, np.zeros((height, width), dtype=np.uint8))


def _add_distractors(canvas: Canvas, style: SyntheticStyle, random: HashRandom) -> None:
    height, width = canvas.label_HW.shape
    for _ in range(random.integer(0, style.max_distractors)):
        parts = random.choice((_BOULDER, _BOULDER, _LOG, _BUSH))
        colour = random.choice(_PALETTE) if parts is not _BUSH else (0.24, 0.40, 0.18)
        size = random.uniform(0.5 * style.min_size, style.max_size) * height * 0.8
        pose = Pose(random.uniform(0, width), random.uniform(0.45, 0.95) * height, size, 0.0, random.chance(0.5))
        _shade_ground(canvas, pose, 0.55, random)
        paint_object(canvas, parts, pose, Paint(colour, 0.0, min(1.0, 1.6 * style.texture)), 0, random)


def _places(names: list[str], canvas: Canvas, style: SyntheticStyle, random: HashRandom) -> list[_Placed]:
    height, width = canvas.label_HW.shape
    placed: list[_Placed] = []
    for name in names:
        for _ in range(_PLACING_ATTEMPTS):
            size = random.uniform(style.min_size, style.max_size) * height
            x = random.uniform(0.7 * size, width - 0.7 * size)
            y = random.uniform(max(0.75 * size, 0.35 * height), height - 0.75 * size)
            pose = Pose(x, y, size, random.uniform(-0.14, 0.14), random.chance(0.5))
            if all(_are_apart(pose, other.pose) for other in placed):
                placed.append(_Placed(name, pose))
                break
    return placed


def _are_apart(one: Pose, other: Pose) -> bool:
    gap = _LEAST_GAP * (one.size + other.size)
    dx, dy = one.x - other.x, one.y - other.y
    return dx * dx + dy * dy >= gap * gap


def _add_object(canvas: Canvas, placed: _Placed, style: SyntheticStyle, random: HashRandom) -> None:
    _shade_ground(canvas, placed.pose, 0.85, random)
    colour = _colour_against(canvas, placed.pose, style.body_contrast, random)
    paint = Paint(colour, style.mark_contrast, style.texture)
    label = 1 + SYNTHETIC_CLASSES.index(placed.class_name)
    paint_object(canvas, SHAPES[placed.class_name], placed.pose, paint, label, random)


def _shade_ground(canvas: Canvas, pose: Pose, offset: float, random: HashRandom) -> None:
    shadow = Pose(pose.x + 0.15 * pose.size, pose.y + offset * pose.size, pose.size, 0.0, False)
    window = canvas.window(shadow)
    rows, columns = window
    v_H1 = (np.arange(rows.start, rows.stop) + 0.5 - shadow.y)[:, None] / (0.24 * shadow.size)
    u_1W = (np.arange(columns.start, columns.stop) + 0.5 - shadow.x)[None, :] / (1.0 * shadow.size)
    depth_HW = np.clip(1.0 - (u_1W * u_1W + v_H1 * v_H1), 0.0, 1.0)
    canvas.colour_HW3[window] *= 1.0 - random.uniform(0.35, 0.55) * depth_HW[..., None]


def _colour_against(canvas: Canvas, pose: Pose, least: float, random: HashRandom) -> Colour:
    behind = _mean_colour(canvas.colour_HW3[canvas.window(pose)])
    best, best_distance = _PALETTE[0], -1.0
    for _ in range(_COLOUR_ATTEMPTS):
        red, green, blue = random.choice(_PALETTE)
        jitter = [random.uniform(-0.07, 0.07) for _ in range(3)]
        colour = (red + jitter[0], green + jitter[1], blue + jitter[2])
        found = distance(colour, behind)
        if found >= least:
            return colour
        if found > best_distance:
            best, best_distance = colour, found
    return best


def _mean_colour(colour_HW3: Field) -> Colour:
    # Integer sums are exact in any order; floating-point sums are not.
    total_3 = np.rint(colour_HW3 * 255.0).astype(np.int64).sum(axis=(0, 1))
    count = 255.0 * colour_HW3.shape[0] * colour_HW3.shape[1]
    return float(total_3[0]) / count, float(total_3[1]) / count, float(total_3[2]) / count


def _develop(canvas: Canvas, style: SyntheticStyle, random: HashRandom) -> NDArray[np.uint8]:
    fine_HW3 = np.clip(canvas.colour_HW3, 0.0, 1.0)
    image_HW3 = (fine_HW3[::2, ::2] + fine_HW3[1::2, ::2] + fine_HW3[::2, 1::2] + fine_HW3[1::2, 1::2]) * 0.25
    exposure = random.uniform(0.85, 1.12)
    tint_3 = np.array([random.uniform(0.95, 1.05) for _ in range(3)])
    height, width, _ = image_HW3.shape
    # The sum of four uniform numbers, scaled to standard deviation 1: close enough to a normal one.
    grain_HW3 = (random.array(4, height, width, 3) - 0.5) * np.sqrt(3.0)
    grain_HW3 = ((grain_HW3[0] + grain_HW3[1]) + (grain_HW3[2] + grain_HW3[3])) * (style.noise / 255.0)
    levels_HW3: Field = np.rint(np.clip(image_HW3 * exposure * tint_3 + grain_HW3, 0.0, 1.0) * 255.0)
    return levels_HW3.astype(np.uint8)


def _coarse_labels(label_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    quarters = [label_HW[y::2, x::2] for y in range(2) for x in range(2)]
    coarse_HW = np.zeros_like(quarters[0])
    for class_id in range(1, len(SYNTHETIC_CLASSES) + 1):
        votes_HW = sum((quarter == class_id).astype(np.uint8) for quarter in quarters)
        coarse_HW[np.asarray(votes_HW) >= 2] = class_id
    return coarse_HW
