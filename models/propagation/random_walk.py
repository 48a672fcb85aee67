"""Random walk that spreads class scores over a grid: IRN (Ahn et al. 2019, section 4.3) and PSA (Ahn & Kwak 2018).

The published codes square an N x N transition matrix eight times. Here the 2^8 steps are taken one by one with the
sparse matrix, which needs memory for the neighbourhood alone and rounds less.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.affinity.pixel_pairs import half_plane_offsets
from models.errors import InvalidInputError
from models.propagation.config import PSA_RANDOM_WALK, RandomWalkConfig
from models.propagation.pair_affinity import affinity_from_boundary
from models.propagation.stencil import GridStencil


def random_walk(scores_Khw: Tensor, boundary_hw: Tensor, config: RandomWalkConfig | None = None) -> Tensor:
    """Scores after the walk of IRN: each cell's result is a weighted average of the scores that can reach it.

    Shapes:
        scores_Khw: [K, h, w], for example class activation maps.
        boundary_hw: [h, w], boundary probability in 0..1.
        returns: [K, h, w], in the type of the scores (at least float32).

    Raises:
        InvalidInputError: shapes differ, a value is NaN, or the boundary leaves 0..1.
    """
    config = config or RandomWalkConfig()
    _check(scores_Khw, "boundary_hw", boundary_hw)
    offsets = tuple(half_plane_offsets(config.radius))
    affinity_Phw = affinity_from_boundary(boundary_hw, offsets, dtype=torch.float64)
    start_Khw = scores_Khw * (1 - boundary_hw) if config.damp_boundary else scores_Khw
    return _walk(start_Khw, affinity_Phw, config)


def random_walk_on_affinity(
    scores_Khw: Tensor, affinity_Phw: Tensor, config: RandomWalkConfig = PSA_RANDOM_WALK
) -> Tensor:
    """Scores after the walk of PSA, on given affinities (`affinity_from_features`).

    Shapes:
        scores_Khw: [K, h, w].
        affinity_Phw: [P, h, w], in 0..1, 0 off the grid, in the order of `half_plane_offsets(config.radius)`.
        returns: [K, h, w].

    Raises:
        InvalidInputError: shapes differ, a value is NaN, or an affinity leaves 0..1.
    """
    _check(scores_Khw, "affinity_Phw", affinity_Phw)
    num_planes = len(half_plane_offsets(config.radius))
    if affinity_Phw.dim() != 3 or affinity_Phw.shape[0] != num_planes:
        raise InvalidInputError(f"affinity_Phw must have {num_planes} planes for radius {config.radius}")
    return _walk(scores_Khw, affinity_Phw.to(torch.float64), config)


def _walk(start_Khw: Tensor, affinity_Phw: Tensor, config: RandomWalkConfig) -> Tensor:
    """`start * T^(2^log2_steps)`, T = S D^-1; as S is symmetric, one step is `D^-1 S` on column vectors.

    In float64: a row of the float32 matrix misses a sum of 1 by up to 1e-6, which 256 steps make 3e-4; and on a CPU
    the double width costs no time, because the steps wait for the indices.
    """
    offsets = tuple(half_plane_offsets(config.radius))
    stencil = GridStencil(offsets, affinity_Phw**config.beta, torch.ones_like(affinity_Phw[0]))
    step_NN = stencil.to_csr(stencil.pattern(), row_scale_hw=1.0 / stencil.row_sums_hw())
    scores_NK = start_Khw.to(torch.float64).flatten(1).T.contiguous()
    for _ in range(2**config.log2_steps):
        scores_NK = step_NN @ scores_NK
    result_dtype = torch.promote_types(start_Khw.dtype, torch.float32)
    return scores_NK.T.reshape(start_Khw.shape).to(result_dtype).contiguous()


def _check(scores_Khw: Tensor, name: str, values: Tensor) -> None:
    if scores_Khw.dim() != 3 or values.shape[-2:] != scores_Khw.shape[-2:] or scores_Khw.numel() == 0:
        raise InvalidInputError(
            f"scores_Khw must be a non-empty [K, h, w] on the grid of {name}, "
            f"got {list(scores_Khw.shape)} and {list(values.shape)}"
        )
    for what, tensor in (("scores_Khw", scores_Khw), (name, values)):
        if not bool(torch.isfinite(tensor).all()):
            raise InvalidInputError(f"{what} holds NaN or infinite values")
    if values.numel() and not (values.min() >= 0 and values.max() <= 1):
        raise InvalidInputError(f"{name} must be in 0..1, found {values.min():.4g} to {values.max():.4g}")
