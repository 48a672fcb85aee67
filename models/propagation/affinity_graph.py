"""The matrix of a GCN layer from the affinities of an image (WSGCN, equation 1 and released code; see the config)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.affinity.pixel_pairs import Offset, half_plane_offsets, pair_windows
from models.errors import InvalidInputError
from models.propagation.config import AffinityGraphConfig
from models.propagation.grid_graph import GridGraph
from models.propagation.pair_affinity import affinity_from_boundary
from models.propagation.stencil import GridStencil, neighbour_sums


@dataclass(frozen=True)
class StencilAdjacency:
    """`diag(row_scale) * stencil * diag(column_scale)`: every `one_hop` graph has this form.

    Since the stencil is symmetric, the transposed product that back-propagation needs is the same stencil with the two
    scales exchanged; nothing is stored twice.

    Shapes:
        row_scale_hw, column_scale_hw: [h, w], positive.
    """

    stencil: GridStencil
    row_scale_hw: Tensor
    column_scale_hw: Tensor


def sharpened_affinity(graph: GridGraph, config: AffinityGraphConfig) -> tuple[tuple[Offset, ...], Tensor]:
    """Offsets and planes of S, the affinities raised to `beta`, in float64.

    Shapes:
        returns: [P, h, w], in 0..1; the unit diagonal of S is not part of it.

    Raises:
        InvalidInputError: the number of given affinity planes does not fit the radius.
    """
    offsets = tuple(half_plane_offsets(config.radius))
    if graph.boundary_hw is not None:
        affinity_Phw = affinity_from_boundary(graph.boundary_hw, offsets, dtype=torch.float64)
        return offsets, affinity_Phw**config.beta
    assert graph.affinity_Phw is not None  # GridGraph holds one of the two
    if graph.affinity_Phw.shape[0] != len(offsets):
        message = (
            f"item {graph.item_id}: affinity_Phw has {graph.affinity_Phw.shape[0]} planes, "
            f"radius {config.radius} needs {len(offsets)}"
        )
        raise InvalidInputError(message)
    affinity_Phw = graph.affinity_Phw.to(torch.float64) ** config.beta
    return offsets, _zero_off_grid(affinity_Phw, offsets)


def one_hop_adjacency(
    graph: GridGraph, config: AffinityGraphConfig, *, storage_dtype: torch.dtype = torch.float64
) -> StencilAdjacency:
    """The `one_hop` matrix of an image.

    Args:
        storage_dtype: the planes (not the diagonal) are rounded to this type before rows are normalised, so rows of the
            rounded matrix still sum to 1.

    Shapes:
        returns: float64 tensors on the device of the graph.
    """
    offsets, affinity_Phw = sharpened_affinity(graph, config)
    degree_hw = 1.0 + neighbour_sums(affinity_Phw, offsets)
    planes_Phw, diagonal_hw, column_scale_hw = _symmetrised(affinity_Phw, offsets, degree_hw, config)
    planes_Phw = planes_Phw.to(storage_dtype).to(torch.float64)
    stencil = GridStencil(offsets, planes_Phw, diagonal_hw)
    if config.normalisation == "none":
        return StencilAdjacency(stencil, torch.ones_like(degree_hw), column_scale_hw)
    if config.normalisation == "symmetric":
        scale_hw = stencil.row_sums_hw().rsqrt()
        return StencilAdjacency(stencil, scale_hw, scale_hw)
    row_sums_hw = stencil.apply(column_scale_hw[None])[0]
    return StencilAdjacency(stencil, 1.0 / row_sums_hw, column_scale_hw)


def _symmetrised(
    affinity_Phw: Tensor, offsets: tuple[Offset, ...], degree_hw: Tensor, config: AffinityGraphConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Planes and diagonal (self loop included) of a symmetric matrix, and the column scale that completes it."""
    ones_hw = torch.ones_like(degree_hw)
    if not config.transition:
        return affinity_Phw, ones_hw + config.self_loop, ones_hw
    if config.symmetrise == "none":  # S D^-1 + s I = (S + s D) D^-1
        return affinity_Phw, ones_hw + config.self_loop * degree_hw, 1.0 / degree_hw
    planes_Phw = torch.zeros_like(affinity_Phw)
    for plane, affinity, offset in zip(planes_Phw, affinity_Phw, offsets, strict=True):
        windows = pair_windows(offset, *degree_hw.shape)
        if windows is None:
            continue
        first, second = windows
        if config.symmetrise == "max":
            plane[first] = affinity[first] / torch.minimum(degree_hw[first], degree_hw[second])
        else:
            plane[first] = affinity[first] * (0.5 / degree_hw[first] + 0.5 / degree_hw[second])
    return planes_Phw, 1.0 / degree_hw + config.self_loop, ones_hw


def _zero_off_grid(planes_Phw: Tensor, offsets: tuple[Offset, ...]) -> Tensor:
    kept_Phw = torch.zeros_like(planes_Phw)
    for kept, plane, offset in zip(kept_Phw, planes_Phw, offsets, strict=True):
        windows = pair_windows(offset, *plane.shape)
        if windows is not None:
            kept[windows[0]] = plane[windows[0]]
    return kept_Phw
