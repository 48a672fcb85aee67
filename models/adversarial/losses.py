"""The terms of ACR's losses (equations 5 to 7 and 12 to 14), on tensors.

Shapes: `image` and reconstructions `[B, 3, H, W]`, normalised as the network's input; masks `[B, 1, H, W]` in [0, 1].
"""

import torch
from torch.nn import functional as F


def masked_l1(image: torch.Tensor, reconstruction: torch.Tensor, valid_B1HW: torch.Tensor) -> torch.Tensor:
    """Returns the mean of `|V (I - I')|` over all elements, those where the mask is 0 included.

    The paper writes an L1 norm; the released code takes this mean, and the published weights belong to it.
    """
    return (valid_B1HW * (image.float() - reconstruction.float())).abs().mean()


def counted_masked_l1(
    image: torch.Tensor,
    reconstruction: torch.Tensor,
    valid_B1HW: torch.Tensor,
    fed_B1HW: torch.Tensor,
    min_fed_px: float,
) -> torch.Tensor:
    """Returns `masked_l1` of the images whose fed mask sums up to more than `min_fed_px`; 0 if there are none."""
    counts_B = fed_B1HW.sum(dim=(1, 2, 3)) > min_fed_px
    if not bool(counts_B.any()):
        return reconstruction.sum() * 0.0  # keeps every parameter in the graph, as averaging over workers needs it
    return masked_l1(image[counts_B], reconstruction[counts_B], valid_B1HW[counts_B])


def classification_loss(logits_NBC: torch.Tensor, labels_BC: torch.Tensor) -> torch.Tensor:
    """Returns BCE-with-logits, the mean over heads, images and classes."""
    return F.binary_cross_entropy_with_logits(logits_NBC.float(), labels_BC.expand_as(logits_NBC).float())


def hard_masks(
    cam_B1HW: torch.Tensor, signed_BCHW: torch.Tensor, target_B: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (V_t, V_nt) as released: where the target CAM is 0; the CAM, where the target's class map is highest.

    Args:
        cam_B1HW: The normalised target CAM.
        signed_BCHW: The class maps before their ReLU, at the same size; all classes, without a background.
        target_B: Channel of the target.
    """
    is_best_B1HW = (signed_BCHW.argmax(dim=1) == target_B.view(-1, 1, 1))[:, None]
    return (cam_B1HW == 0).to(cam_B1HW.dtype), cam_B1HW * is_best_B1HW
