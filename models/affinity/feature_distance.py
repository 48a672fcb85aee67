"""How far the features of neighbouring cells are apart (Ahn and Kwak, CVPR 2018, equation 3), for training.

Autograd would keep the differences of all pairs: 34 times the features at radius 5. Here only the features are kept,
and the backward pass takes the differences again.
"""

from collections.abc import Sequence
from typing import Any

import torch

from models.affinity.pair_sums import PairWindow
from models.affinity.pixel_pairs import Offset


def mean_distances(features_BDhw: torch.Tensor, window: PairWindow, offsets: Sequence[Offset]) -> torch.Tensor:
    """Returns the mean over the channels of `|f(target) - f(source)|`, at each offset from each source, `[B, P, y, x]`.

    Raises:
        IndexError: An offset leaves the window's grid.
    """
    distances: torch.Tensor = _MeanDistances.apply(features_BDhw, window, tuple(offsets))
    return distances


class _MeanDistances(torch.autograd.Function):
    """Image by image: the features of one stay in a CPU's cache while all its offsets are taken (3 times as fast)."""

    @staticmethod
    def forward(ctx: Any, features_BDhw: torch.Tensor, window: PairWindow, offsets: Sequence[Offset]) -> torch.Tensor:
        ctx.save_for_backward(features_BDhw)
        ctx.window, ctx.offsets = window, offsets
        images = [_distances(features_Dhw, window, offsets) for features_Dhw in features_BDhw]
        return torch.stack(images)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        [features_BDhw] = ctx.saved_tensors
        result_BDhw = torch.zeros_like(features_BDhw)
        for features_Dhw, share_Pyx, result_Dhw in zip(features_BDhw, gradients[0], result_BDhw, strict=True):
            _add_gradient(result_Dhw, features_Dhw, share_Pyx / len(features_Dhw), ctx.window, ctx.offsets)
        return result_BDhw, None, None


def _distances(features_Dhw: torch.Tensor, window: PairWindow, offsets: Sequence[Offset]) -> torch.Tensor:
    source_Dyx = window.source(features_Dhw)
    planes = [(window.target(features_Dhw, offset) - source_Dyx).abs_().mean(dim=0) for offset in offsets]
    return torch.stack(planes)


def _add_gradient(
    result_Dhw: torch.Tensor,
    features_Dhw: torch.Tensor,
    share_Pyx: torch.Tensor,
    window: PairWindow,
    offsets: Sequence[Offset],
) -> None:
    source_Dyx, of_source_Dyx = window.source(features_Dhw), window.source(result_Dhw)
    for share_yx, offset in zip(share_Pyx, offsets, strict=True):
        step_Dyx = (window.target(features_Dhw, offset) - source_Dyx).sign_().mul_(share_yx)
        window.target(result_Dhw, offset).add_(step_Dyx)
        of_source_Dyx.sub_(step_Dyx)
