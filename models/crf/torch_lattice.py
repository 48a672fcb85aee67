"""A permutohedral lattice filter in torch, of gathers only: no atomic additions, so the same bits every time.

Source: Adams, Baek, Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from models.crf.lattice_codes import PointCodes, axis_scales, make_codes


@dataclass(frozen=True)
class TorchLattice:
    """The vertices around N points in d dimensions, and the normalised filter on them.

    Attributes:
        vertex_NS: the S = d + 1 vertices of each point's simplex, [N, S].
        weight_NS: barycentric weights, times the symmetric normalisation, [N, S].
        splat_index: positions in the flattened [N, S], by vertex.
        splat_offset_M: where each vertex begins in `splat_index`, [M].
        next_SM: neighbour of each vertex along each axis, M where there is none, [S, M].
        previous_SM: likewise in the other direction.
    """

    vertex_NS: Tensor
    weight_NS: Tensor
    splat_index: Tensor
    splat_offset_M: Tensor
    next_SM: Tensor
    previous_SM: Tensor

    def filter(self, value_NC: Tensor) -> Tensor:
        """Return the normalised filter's answer at every point, [N, C] for [N, C]."""
        table_MC = self._blur(self._splat(value_NC))
        return embedding_bag(self.vertex_NS, table_MC, per_sample_weights=self.weight_NS, mode="sum")

    def normalised(self) -> TorchLattice:
        """Return the lattice with n^-1/2 in its weights, n what the filter makes of 1 (symmetric normalisation)."""
        ones_N1 = torch.ones(len(self.weight_NS), 1, device=self.weight_NS.device)
        norm_N1 = 1.0 / torch.sqrt(self.filter(ones_N1) + 1e-20)
        return TorchLattice(
            self.vertex_NS,
            self.weight_NS * norm_N1,
            self.splat_index,
            self.splat_offset_M,
            self.next_SM,
            self.previous_SM,
        )

    def _splat(self, value_NC: Tensor) -> Tensor:
        num_corners = self.weight_NS.shape[1]
        return embedding_bag(
            torch.div(self.splat_index, num_corners, rounding_mode="floor"),
            value_NC,
            self.splat_offset_M,
            per_sample_weights=self.weight_NS.reshape(-1)[self.splat_index],
            mode="sum",
        )

    def _blur(self, table_MC: Tensor) -> Tensor:
        """Filter with (1/2, 1, 1/2) along every axis; a vertex that is not in the lattice is 0."""
        zero_1C = torch.zeros(1, table_MC.shape[1], device=table_MC.device)
        for next_M, previous_M in zip(self.next_SM, self.previous_SM, strict=True):
            padded = torch.cat((table_MC, zero_1C))
            table_MC = table_MC + 0.5 * (padded[next_M] + padded[previous_M])
        return table_MC


def build_lattice(feature_ND: Tensor, extents: tuple[float, ...]) -> TorchLattice:
    """Return the normalised lattice around points whose feature f lies in [0, extents[f]].

    Shapes:
        feature_ND: float32, in standard deviations, [N, d] with d = 2 (position) or 5 (position and colour).
    """
    codes = make_codes(extents)
    m_NS, distance_NS, rank_NS = _nearest_vertex(_elevate(feature_ND))
    code_NS = _corner_codes(m_NS, rank_NS, codes)
    sorted_code_M, inverse = torch.unique(code_NS.reshape(-1), return_inverse=True)
    order = torch.argsort(inverse, stable=True)
    counts = torch.bincount(inverse, minlength=len(sorted_code_M))
    steps = torch.tensor(codes.coefficients, device=feature_ND.device)
    lattice = TorchLattice(
        vertex_NS=inverse.reshape(code_NS.shape),
        weight_NS=_barycentric(distance_NS, rank_NS),
        splat_index=order,
        splat_offset_M=torch.cumsum(counts, 0) - counts,
        next_SM=torch.stack([_find(sorted_code_M, sorted_code_M - step) for step in steps]),
        previous_SM=torch.stack([_find(sorted_code_M, sorted_code_M + step) for step in steps]),
    )
    return lattice.normalised()


def _elevate(feature_ND: Tensor) -> Tensor:
    """Return the points' images in the hyperplane sum = 0 of R^(d+1), [N, d + 1]."""
    num_features = feature_ND.shape[1]
    scaled_ND = feature_ND * torch.from_numpy(axis_scales(num_features)).to(feature_ND.device)
    total_N = torch.zeros_like(scaled_ND[:, 0])
    columns = []
    for i in range(num_features, 0, -1):
        columns.append(total_N - scaled_ND[:, i - 1] * i)
        total_N = total_N + scaled_ND[:, i - 1]
    columns.append(total_N)
    return torch.stack(columns[::-1], dim=1)


def _nearest_vertex(elevated_NS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the remainder-0 vertex's m, the point's distances from it, and their ranks, largest distance first."""
    num_corners = elevated_NS.shape[1]
    m_NS = torch.floor(elevated_NS * (1.0 / num_corners) + 0.5)
    distance_NS = elevated_NS - m_NS * num_corners
    # A stable descending sort: of equal distances the first gets the smaller rank.
    order_NS = torch.argsort(distance_NS, dim=1, descending=True, stable=True)
    rank_NS = torch.argsort(order_NS, dim=1)
    rank_NS = rank_NS + m_NS.sum(dim=1, keepdim=True).long()
    move_NS = (rank_NS < 0).long() - (rank_NS >= num_corners).long()  # back into the hyperplane
    m_NS = m_NS.long() + move_NS
    return m_NS, distance_NS - move_NS.float() * num_corners, rank_NS + move_NS * num_corners


def _corner_codes(m_NS: Tensor, rank_NS: Tensor, codes: PointCodes) -> Tensor:
    """Return the codes of the simplex's vertices: vertex v + 1 is one step from v along the axis of rank d - v."""
    coefficients = torch.tensor(codes.coefficients, device=m_NS.device)
    first_N1 = (m_NS * coefficients).sum(dim=1, keepdim=True) + codes.origin
    axis_by_rank_NS = torch.argsort(rank_NS, dim=1)
    steps_NS = coefficients[axis_by_rank_NS.flip(1)[:, :-1]]
    return torch.cat((first_N1, first_N1 - torch.cumsum(steps_NS, dim=1)), dim=1)


def _barycentric(distance_NS: Tensor, rank_NS: Tensor) -> Tensor:
    """Return the weights of the simplex's vertices (Adams et al. 2010, proposition 5.2 of the technical report)."""
    num_corners = distance_NS.shape[1]
    axis_by_rank_NS = torch.argsort(rank_NS, dim=1)
    ranked_NS = torch.gather(distance_NS, 1, axis_by_rank_NS).flip(1) * (1.0 / num_corners)
    first_N1 = ranked_NS[:, :1] + (1.0 - ranked_NS[:, -1:])
    return torch.cat((first_N1, ranked_NS[:, 1:] - ranked_NS[:, :-1]), dim=1)


def _find(sorted_code_M: Tensor, wanted_M: Tensor) -> Tensor:
    """Return the positions of the wanted codes, M where a code is not in the list."""
    num_vertices = len(sorted_code_M)
    position_M = torch.searchsorted(sorted_code_M, wanted_M)
    found_M = sorted_code_M[position_M.clamp(max=num_vertices - 1)] == wanted_M
    return torch.where(found_M, position_M, num_vertices)
