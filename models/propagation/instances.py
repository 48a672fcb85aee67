"""The objects of an image, as data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_INSTANCES = 254
"""Ids are 1..254 in one byte, as in VOC's own instance masks; 255 stays free for "ignore"."""


@dataclass(frozen=True)
class Instance:
    """One object.

    Attributes:
        class_id: As in masks, from 1.
        score: Highest score of its pixels after the walk, in 0..1; 0 for a piece that is too small.
        num_px: Its pixels.
        x_px, y_px: Left and upper end of its bounding box.
        width_px, height_px: Size of the box.
    """

    class_id: int
    score: float
    num_px: int
    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True)
class InstanceMasks:
    """The objects of one image; they do not overlap.

    Attributes:
        id_HW: [H, W] uint8, 0 for none; id i belongs to `instances[i - 1]`.
        instances: Best score first, larger ones first among equals; at most `MAX_INSTANCES`.
    """

    id_HW: np.ndarray
    instances: tuple[Instance, ...]
