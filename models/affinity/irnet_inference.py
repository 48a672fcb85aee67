"""Boundary map, node features and displacements of one whole image.

Source: IRN's released inference: the image and its mirror, padded, logits averaged after mirroring back, then sigmoid.
The released code pads every image to 512 x 512 and would crop larger ones; here the padded size follows the image.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from models.affinity.irnet import IRNet
from models.backbones import EncoderConfig
from models.images import check_image, strided_size

NodeFeatures = Literal["paper", "released"]


@dataclass(frozen=True)
class BoundaryFeatures:
    """What propagation needs of an image, at stride 4.

    Attributes:
        boundary_hw: Class-boundary probability in [0, 1].
        features_Dhw: Node features of the GCN.
        displacement_2hw: (dy, dx) to the instance's centroid, in cells, of the plain pass alone (released); None where
            the network has no displacement branch.
    """

    boundary_hw: torch.Tensor
    features_Dhw: torch.Tensor
    displacement_2hw: torch.Tensor | None


@torch.no_grad()
def boundary_features(
    model: IRNet, image_HW3: np.ndarray, encoder: EncoderConfig, node_features: NodeFeatures = "released"
) -> BoundaryFeatures:
    """Returns boundary probabilities, node features and displacements of one image, on the model's device.

    Args:
        encoder: Gives the padded sizes. Without a rule of its own, images smaller than 512 pixels are padded to 512 x
            512 as released, larger ones to a multiple of 16.
        node_features: `paper`: the input of the last 1x1 convolution. `released`: that input times the convolution's
            weights, so that a node's features add up to its boundary logit.
    """
    check_image(image_HW3)
    height, width = image_HW3.shape[:2]
    padded_h, padded_w = _padded_size(height, width, encoder)
    device = next(model.parameters()).device
    image_3HW = F.pad(model.encoder.normalisation(image_HW3).to(device), (0, padded_w - width, 0, padded_h - height))
    output = model(_with_mirror(image_3HW, width, aligned=encoder.is_corner_aligned))
    h, w = strided_size((height, width), 4)
    logits_hw = _merge(output.edge_logits_B1hw, h, w, aligned=encoder.is_corner_aligned)[0]
    features_Dhw = _merge(output.edge_features_BDhw, h, w, aligned=encoder.is_corner_aligned)
    if node_features == "released":
        features_Dhw = features_Dhw * model.edge.last.weight.view(-1, 1, 1)
    displacement = output.displacement_B2hw
    displacement_2hw = None if displacement is None else displacement[0, :, :h, :w]
    return BoundaryFeatures(torch.sigmoid(logits_hw), features_Dhw.contiguous(), displacement_2hw)


def _with_mirror(image_3HW: torch.Tensor, width: int, *, aligned: bool) -> torch.Tensor:
    """Stacks the padded image and its mirror; on an aligned grid the padding is mirrored too, so that cells match."""
    if aligned:
        return torch.stack([image_3HW, image_3HW.flip(-1)])
    mirrored = image_3HW.clone()
    mirrored[..., :width] = image_3HW[..., :width].flip(-1)
    return torch.stack([image_3HW, mirrored])


def _merge(maps_2Dyx: torch.Tensor, h: int, w: int, *, aligned: bool) -> torch.Tensor:
    """Returns the mean of the two passes on the image's own `h x w` cells."""
    if aligned:
        return (0.5 * (maps_2Dyx[0] + maps_2Dyx[1].flip(-1)))[:, :h, :w]
    return 0.5 * (maps_2Dyx[0, :, :h, :w] + maps_2Dyx[1, :, :h, :w].flip(-1))


def _padded_size(height: int, width: int, encoder: EncoderConfig) -> tuple[int, int]:
    if encoder.is_corner_aligned or encoder.size_multiple > 1:
        return encoder.padded_size((height, width))
    if max(height, width) <= 512:
        return 512, 512
    return -(-height // 16) * 16, -(-width // 16) * 16
