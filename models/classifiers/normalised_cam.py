"""CAMs in [0, 1]: each class by itself, with gradients where they are asked for.

Sources: IRN (Ahn et al., CVPR 2019), released inference: divided by the maximum. ACR (Kweon et al., CVPR 2023),
released training and inference: the least value becomes 0 and the greatest (almost) 1.
"""

import torch
from torch.nn import functional as F

_EPSILON = 1e-5  # both codes; keeps a class that fires nowhere at zero


def divided_by_maximum(cam_Khw: torch.Tensor) -> torch.Tensor:
    """Returns CAMs of at least 0 with each class divided by its maximum; leading dimensions are free."""
    return cam_Khw / (cam_Khw.amax(dim=(-2, -1), keepdim=True) + _EPSILON)


def min_max(cam_Khw: torch.Tensor) -> torch.Tensor:
    """Returns `relu(x - min - e) / (max - min + e)` of each class, with e = 1e-5; leading dimensions are free.

    The greatest value becomes `(d - e) / (d + e)` for d = max - min, a little below 1. The least value, and all within
    e of it, become exactly 0, which is what ACR's hard masks ask for. The gradient runs through least and greatest too.
    """
    least = cam_Khw.amin(dim=(-2, -1), keepdim=True)
    greatest = cam_Khw.amax(dim=(-2, -1), keepdim=True)
    return F.relu(cam_Khw - least - _EPSILON) / (greatest - least + _EPSILON)
