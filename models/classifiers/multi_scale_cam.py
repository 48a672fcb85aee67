"""Class activation maps of one image over several scales and their mirror images.

Source: IRN's released inference (Ahn et al., CVPR 2019): per scale the maps of the image and of its mirror are added
at the network's stride, resized to the stride-4 grid and to full resolution, added over scales, and divided by their
maximum (other classifiers: see `CamNetwork.normalised`); only classes that the image's tags name are kept. PSA (Ahn and
Kwak, CVPR 2018) and ACR (Kweon et al., CVPR 2023) resize each map to the size of the image in one step, whatever its
last row and column cover, and know no stride-4 product.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from models.backbones import EncoderConfig
from models.classifiers.cam_network import CamNetwork
from models.classifiers.config import CAM_STRIDE, DEFAULT_SCALES, CamResampling
from models.errors import InvalidInputError
from models.images import check_image, resize, scaled_size, strided_size


@dataclass(frozen=True)
class MultiScaleCam:
    """CAMs of one image in [0, 1], each class normalised as its classifier has it.

    Attributes:
        cam_Khw: At stride 4, float32.
        high_res_KHW: At full resolution, float32; resized from the network's stride in one step, not from `cam_Khw`.
        flip_agreement: How far the maps of image and mirror image agree, in [0, 1]; NaN where nobody has looked.
    """

    cam_Khw: torch.Tensor
    high_res_KHW: torch.Tensor
    flip_agreement: float = float("nan")


@torch.no_grad()
def multi_scale_cam(
    model: CamNetwork,
    image_HW3: np.ndarray,
    class_ids: Sequence[int],
    scales: Sequence[float] = DEFAULT_SCALES,
    resampling: CamResampling = "irn",
) -> MultiScaleCam:
    """Returns the CAMs of the classes in `class_ids` (ids as in masks, from 1), in that order, on the CPU.

    Args:
        resampling: `irn` enlarges to a multiple of the stride and crops; `psa` resizes to the image's size. An encoder
            with a corner-aligned grid is sampled where its cells lie, in both.

    Raises:
        InvalidInputError: Not an RGB image, no class ids, or one that the classifier does not have.
    """
    check_image(image_HW3)
    _check_class_ids(class_ids, model.num_foreground)
    size_hw = image_HW3.shape[:2]
    config = model.encoder_config
    channels = torch.tensor([class_id - 1 for class_id in class_ids], device=model.device)
    cams: list[torch.Tensor] = []
    high_res: list[torch.Tensor] = []
    agreements: list[float] = []
    for scale in scales:
        scaled_HW3 = resize(image_HW3, scaled_size(size_hw, scale))
        maps_2Kyx = _flipped_maps(model, scaled_HW3)[:, channels]
        agreements.append(flip_agreement(maps_2Kyx))
        maps_1Kyx = maps_2Kyx.sum(dim=0, keepdim=True)
        for products, out_stride in ((cams, CAM_STRIDE), (high_res, 1)):
            products.append(resample_maps(maps_1Kyx, scaled_HW3.shape[:2], size_hw, out_stride, config, resampling))
    cam_Khw, high_res_KHW = (model.normalised(torch.cat(maps).sum(0)).cpu() for maps in (cams, high_res))
    return MultiScaleCam(cam_Khw, high_res_KHW, flip_agreement=float(np.mean(agreements)))


def flip_agreement(maps_2Kyx: torch.Tensor) -> float:
    """Returns the soft IoU of two views' maps, at least 0: sum of minima over sum of maxima, the mean over classes.

    A class that fires in neither view counts as 0: nothing was found that could be stable.
    """
    low_K, high_K = maps_2Kyx.amin(dim=0).sum(dim=(1, 2)), maps_2Kyx.amax(dim=0).sum(dim=(1, 2))
    return float((low_K / high_K.clamp_min(torch.finfo(high_K.dtype).tiny)).mean())


def _flipped_maps(model: CamNetwork, image_HW3: np.ndarray) -> torch.Tensor:
    """Returns the class maps of the image, and those of its mirror image, mirrored back, `[2, C-1, y, x]`."""
    height, width = image_HW3.shape[:2]
    padded_height, padded_width = model.encoder_config.padded_size((height, width))
    image_3HW = model.normalisation(image_HW3).to(model.device)
    image_3HW = F.pad(image_3HW, (0, padded_width - width, 0, padded_height - height))
    maps_2Kyx = model.class_maps(torch.stack([image_3HW, image_3HW.flip(-1)]))
    return torch.stack([maps_2Kyx[0], maps_2Kyx[1].flip(-1)])


def resample_maps(
    maps_1Kyx: torch.Tensor,
    scaled_hw: Sequence[int],
    size_hw: Sequence[int],
    out_stride: int,
    config: EncoderConfig,
    resampling: CamResampling,
) -> torch.Tensor:
    """Returns the maps of an image that was resized to `scaled_hw`, on the `out_stride` grid of its own `size_hw`."""
    if config.is_corner_aligned:
        return _resample_aligned(maps_1Kyx, scaled_hw, size_hw, config.output_stride, out_stride)
    if resampling == "psa":
        return _resample_direct(maps_1Kyx, config.padded_size(scaled_hw), scaled_hw, size_hw, out_stride)
    return _resample_stretched(maps_1Kyx, size_hw, config.output_stride, out_stride)


def _resample_stretched(maps_1Kyx: torch.Tensor, size_hw: Sequence[int], stride: int, out_stride: int) -> torch.Tensor:
    """Resizes as the released code does.

    The coarse grid is stretched to the stride-4 grid, or to a multiple of its stride that is then cropped, no matter
    how many pixels the last cell really covers.
    """
    target_hw = strided_size(size_hw, out_stride)
    if out_stride > 1:
        return F.interpolate(maps_1Kyx, size=target_hw, mode="bilinear", align_corners=False)
    covering_hw = [cells * stride for cells in strided_size(size_hw, stride)]
    resized = F.interpolate(maps_1Kyx, size=covering_hw, mode="bilinear", align_corners=False)
    return resized[..., : target_hw[0], : target_hw[1]]


def _resample_direct(
    maps_1Kyx: torch.Tensor, padded_hw: Sequence[int], scaled_hw: Sequence[int], size_hw: Sequence[int], out_stride: int
) -> torch.Tensor:
    """Resizes as PSA does: the grid of the scaled image is stretched over the image.

    An image that was padded has its grid stretched over as much more, and what lies beyond the image is cropped.
    """
    target_hw = strided_size(size_hw, out_stride)
    covering_hw = [
        max(target, round(target * padded / scaled))
        for target, padded, scaled in zip(target_hw, padded_hw, scaled_hw, strict=True)
    ]
    resized = F.interpolate(maps_1Kyx, size=covering_hw, mode="bilinear", align_corners=False)
    return resized[..., : target_hw[0], : target_hw[1]]


def _resample_aligned(
    maps_1Kyx: torch.Tensor, scaled_hw: Sequence[int], size_hw: Sequence[int], stride: int, out_stride: int
) -> torch.Tensor:
    """Samples the maps where the pixels of the output really are.

    Cell i lies on pixel `stride * i` of the scaled image, and pixel p of the image on its `(p + 0.5) * scale - 0.5`.
    """
    axes = []
    for num_cells, scaled, size in zip(maps_1Kyx.shape[2:], scaled_hw, size_hw, strict=True):
        pixels = torch.arange(0, size, out_stride, dtype=torch.float32, device=maps_1Kyx.device)
        cells = ((pixels + 0.5) * (scaled / size) - 0.5) / stride
        axes.append(cells * (2.0 / max(num_cells - 1, 1)) - 1.0)
    grid_1yx2 = torch.stack([*reversed(torch.meshgrid(*axes, indexing="ij"))], dim=-1)[None]
    return F.grid_sample(maps_1Kyx, grid_1yx2, mode="bilinear", padding_mode="border", align_corners=True)


def _check_class_ids(class_ids: Sequence[int], num_foreground: int) -> None:
    if not class_ids or min(class_ids) < 1 or max(class_ids) > num_foreground:
        msg = f"class_ids must be 1 to {num_foreground} and at least one; got {list(class_ids)}"
        raise InvalidInputError(msg)
