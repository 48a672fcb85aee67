"""Class maps spread over the patches that attend to each other (MCTformer, Xu et al., CVPR 2022, section 3.4)."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

from models.backbones import EncoderConfig
from models.classifiers.normalised_cam import min_max
from models.errors import InvalidInputError
from models.images import Normalisation, resize, scaled_size, strided_size


class PatchAttention(Protocol):
    """A network that says which patches of an image belong together."""

    @property
    def encoder_config(self) -> EncoderConfig:
        """Size of a patch, padding."""

    @property
    def normalisation(self) -> Normalisation:
        """What becomes of pixels."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""

    def patch_affinity(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns P, `[B, N, N]`, patches row by row."""


def patch_affinity(attention: Sequence[torch.Tensor], num_prefix: int) -> torch.Tensor:
    """Returns P, `[B, N, N]`: what patches give to patches, summed over layers and not normalised again.

    Args:
        attention: Of each layer, `[B, num_prefix + N, num_prefix + N]`, the mean over heads.
        num_prefix: Class tokens; they come first.
    """
    total = torch.stack([layer[:, num_prefix:, num_prefix:] for layer in attention]).sum(dim=0)
    return total


def spread(maps_BKhw: torch.Tensor, affinity_BNN: torch.Tensor) -> torch.Tensor:
    """Returns `A_ref(i) = sum_j P(i, j) A(j)` over patches, of the shape of the maps."""
    flat_BNK = maps_BKhw.flatten(2).transpose(1, 2)
    return (affinity_BNN @ flat_BNK).transpose(1, 2).reshape(maps_BKhw.shape)


@torch.no_grad()
def refined_cams(
    model: PatchAttention, image_HW3: np.ndarray, cam_Khw: torch.Tensor, scales: Sequence[float] = (1.0,)
) -> torch.Tensor:
    """Returns CAMs of any origin, spread by the attention between an image's patches, each class from 0 to 1.

    Every scale is seen plain and mirrored; the CAM is reduced to the patches' grid, spread, and enlarged again.

    Args:
        model: In evaluation.
        image_HW3: RGB uint8.
        cam_Khw: `[K, y, x]` float on any grid over the whole image.
        scales: Of the image.

    Raises:
        InvalidInputError: The CAM is not of three dimensions, or holds no class.
    """
    if cam_Khw.ndim != 3 or cam_Khw.numel() == 0:
        raise InvalidInputError(f"refined_cams: CAMs must be [K, y, x] and not empty; got {list(cam_Khw.shape)}")
    cam_1Khw = cam_Khw[None].to(model.device, torch.float32)
    total = torch.zeros_like(cam_1Khw)
    for scale in scales:
        scaled_HW3 = resize(image_HW3, scaled_size(image_HW3.shape[:2], scale))
        total += _spread_at(model, scaled_HW3, cam_1Khw)
    return min_max(total[0]).cpu()


def _spread_at(model: PatchAttention, image_HW3: np.ndarray, cam_1Khw: torch.Tensor) -> torch.Tensor:
    """Returns the sum of what the image and its mirror image make of a CAM, on the CAM's grid.

    An image that was padded has its CAM padded by zeros, as far as whole patches lie outside.
    """
    height, width = image_HW3.shape[:2]
    config = model.encoder_config
    padded_hw = config.padded_size((height, width))
    image_3HW = model.normalisation(image_HW3).to(model.device)
    image_3HW = F.pad(image_3HW, (0, padded_hw[1] - width, 0, padded_hw[0] - height))
    inner_hw = strided_size((height, width), config.output_stride)
    grid_hw = strided_size(padded_hw, config.output_stride)
    small = F.interpolate(cam_1Khw, size=inner_hw, mode="bilinear", align_corners=False, antialias=True)
    small = F.pad(small, (0, grid_hw[1] - inner_hw[1], 0, grid_hw[0] - inner_hw[0]))
    pair = torch.cat([small, small.flip(-1)])
    found = spread(pair, model.patch_affinity(torch.stack([image_3HW, image_3HW.flip(-1)])))
    both = (found[:1] + found[1:].flip(-1))[..., : inner_hw[0], : inner_hw[1]]
    return F.interpolate(both, size=cam_1Khw.shape[2:], mode="bilinear", align_corners=False)
