"""Colours of the report: classes as in the masks' own palette, and heat scales on which numbers stay readable."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsss_jobs.storage.mask_png import voc_palette

Rgb = tuple[int, int, int]

NUM_HEAT_LEVELS = 21
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_LIGHT_STOPS = ((244, 247, 250), (190, 219, 240), (104, 168, 216), (33, 113, 181), (8, 58, 110))
_DARK_STOPS = ((24, 33, 45), (27, 58, 92), (38, 98, 150), (88, 157, 214), (190, 224, 250))


@dataclass(frozen=True)
class HeatLevel:
    """One step of a heat scale: background and the text colour that reads best on it."""

    level: int
    background: str
    text: str


def class_colour(class_id: int) -> Rgb:
    """Returns the colour that masks give a class (VOC palette)."""
    red, green, blue = voc_palette()[class_id]
    return int(red), int(green), int(blue)


def hex_colour(rgb: Rgb) -> str:
    """Returns a colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def contrast(first: Rgb, second: Rgb) -> float:
    """Returns the contrast ratio of two colours, 1 to 21 (WCAG 2.1, "contrast ratio")."""
    darker, brighter = sorted((_luminance(first), _luminance(second)))
    return (brighter + 0.05) / (darker + 0.05)


def heat_scale(*, dark: bool) -> tuple[HeatLevel, ...]:
    """Returns the scale from 0 to 1 in equal steps, for a light or a dark page."""
    stops = _DARK_STOPS if dark else _LIGHT_STOPS
    return tuple(_heat_level(level, stops) for level in range(NUM_HEAT_LEVELS))


def heat_level(fraction: float) -> int:
    """Returns the step of a fraction in [0, 1]."""
    return round(min(max(fraction, 0.0), 1.0) * (NUM_HEAT_LEVELS - 1))


def _heat_level(level: int, stops: Sequence[Rgb]) -> HeatLevel:
    position = level / (NUM_HEAT_LEVELS - 1) * (len(stops) - 1)
    channels = [np.interp(position, range(len(stops)), [stop[channel] for stop in stops]) for channel in range(3)]
    red, green, blue = (round(float(value)) for value in channels)
    background = (red, green, blue)
    text = max(_BLACK, _WHITE, key=lambda colour: contrast(colour, background))
    return HeatLevel(level, hex_colour(background), hex_colour(text))


def _luminance(rgb: Rgb) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (channel / 255 for channel in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
