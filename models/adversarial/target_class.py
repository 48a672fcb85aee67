"""The class whose object a step parts from the rest (ACR, section 4.1, after OC-CSE, Kweon et al., ICCV 2021)."""

from collections.abc import Sequence

import numpy as np
import torch

NO_TARGET = -1
"""Target of an image without tags: nothing is parted, and it counts in no loss of reconstruction."""


def draw_target_class(class_ids: Sequence[int], rng: np.random.Generator) -> int:
    """Returns the channel (class id - 1) of one of the image's classes, each as likely; `NO_TARGET` without any."""
    return int(rng.choice(np.asarray(class_ids))) - 1 if len(class_ids) else NO_TARGET


def of_target(cams_BChw: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
    """Returns each image's CAM of its target class, `[B, 1, h, w]`; zeros where it has none."""
    channel_B = target_B.clamp(min=0)
    chosen_B1hw = cams_BChw[torch.arange(len(channel_B), device=cams_BChw.device), channel_B][:, None]
    return chosen_B1hw * has_target(target_B).to(cams_BChw.dtype)


def has_target(target_B: torch.Tensor) -> torch.Tensor:
    """Returns which images have a target, `[B, 1, 1, 1]` bool."""
    return (target_B != NO_TARGET).view(-1, 1, 1, 1)
