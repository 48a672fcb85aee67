"""Symmetric matrices on a grid, kept as planes of a half-plane neighbourhood: never as N x N, and on any device."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from models.affinity.pixel_pairs import Offset, pair_windows


@dataclass(frozen=True)
class GridStencil:
    """Symmetric matrix over the N = h * w cells (row-major) of a grid, with equal offsets at every cell.

    Shapes:
        planes_Phw: [P, h, w]; plane k at (y, x) is the entry of (y, x) and (y + dy_k, x + dx_k); 0 off the grid.
        diagonal_hw: [h, w].
    """

    offsets: tuple[Offset, ...]
    planes_Phw: Tensor
    diagonal_hw: Tensor

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return self.diagonal_hw.shape[0]

    @property
    def width(self) -> int:
        """Columns of the grid."""
        return self.diagonal_hw.shape[1]

    def row_sums_hw(self) -> Tensor:
        """Sum of each row of the matrix.

        Shapes:
            returns: [h, w].
        """
        return self.diagonal_hw + neighbour_sums(self.planes_Phw, self.offsets)

    def apply(self, x_Khw: Tensor) -> Tensor:
        """Matrix times every channel of `x_Khw`, by shifted multiply-adds: no index is stored, little memory is used.

        Shapes:
            x_Khw: [K, h, w].
            returns: [K, h, w].
        """
        result = self.diagonal_hw * x_Khw
        for offset, plane in zip(self.offsets, self.planes_Phw, strict=True):
            windows = pair_windows(offset, self.height, self.width)
            if windows is None:
                continue
            first, second = windows
            weight = plane[first]
            result[:, first[0], first[1]].addcmul_(weight, x_Khw[:, second[0], second[1]])
            result[:, second[0], second[1]].addcmul_(weight, x_Khw[:, first[0], first[1]])
        return result

    def pattern(self) -> StencilPattern:
        """Where the entries of the matrix are, row by row with ascending columns."""
        height, width = self.height, self.width
        num_nodes, device = height * width, self.diagonal_hw.device
        # (dy, dx, position in the flat planes of the entry that cell 0 would have); the diagonal follows the planes.
        entries = [(dy, dx, k * num_nodes) for k, (dy, dx) in enumerate(self.offsets)]
        entries += [(-dy, -dx, k * num_nodes - dy * width - dx) for k, (dy, dx) in enumerate(self.offsets)]
        entries.append((0, 0, len(self.offsets) * num_nodes))
        entries.sort()
        valid = torch.zeros((height, width, len(entries)), dtype=torch.bool, device=device)
        for rank, (dy, dx, _) in enumerate(entries):
            windows = pair_windows((dy, dx), height, width)
            if windows is not None:
                first, _ = windows
                valid[first[0], first[1], rank] = True
        crow = torch.zeros(num_nodes + 1, dtype=torch.int32, device=device)
        crow[1:] = valid.view(num_nodes, -1).sum(dim=1).cumsum(0)
        kept = valid.view(-1).nonzero().squeeze(1)
        node_N1 = torch.arange(num_nodes, device=device)[:, None]
        displacement = torch.tensor([dy * width + dx for dy, dx, _ in entries], device=device)
        start = torch.tensor([start for _, _, start in entries], device=device)
        columns = (node_N1 + displacement).to(torch.int32).view(-1).index_select(0, kept)
        return StencilPattern(crow, columns, (node_N1 + start).view(-1).index_select(0, kept))

    def to_csr(
        self, pattern: StencilPattern, row_scale_hw: Tensor | None = None, column_scale_hw: Tensor | None = None
    ) -> Tensor:
        """`diag(row_scale) * matrix * diag(column_scale)` as a sparse CSR tensor with int32 indices.

        Shapes:
            row_scale_hw, column_scale_hw: [h, w]; None is 1.
            returns: [N, N] sparse CSR; entries of pairs inside the grid are stored even where they are 0.
        """
        flat = torch.cat([self.planes_Phw.reshape(-1), self.diagonal_hw.reshape(-1)])
        values = flat.index_select(0, pattern.source)
        if row_scale_hw is not None:
            values *= row_scale_hw.reshape(-1).repeat_interleave(pattern.crow.diff(), output_size=len(values))
        if column_scale_hw is not None:
            values *= column_scale_hw.reshape(-1).index_select(0, pattern.columns)
        return csr_tensor(pattern.crow, pattern.columns, values)


@dataclass(frozen=True)
class StencilPattern:
    """Sparsity pattern of a `GridStencil`, shared by every matrix with the same grid and offsets.

    Shapes:
        crow: [N + 1] int32, start of each row.
        columns: [nnz] int32, ascending within a row.
        source: [nnz] int64, position of each entry in the planes followed by the diagonal, flattened.
    """

    crow: Tensor
    columns: Tensor
    source: Tensor


def neighbour_sums(planes_Phw: Tensor, offsets: tuple[Offset, ...]) -> Tensor:
    """Sum over all neighbours of each cell (both directions of every pair) of the pair's value.

    Shapes:
        planes_Phw: [P, h, w].
        returns: [h, w].
    """
    height, width = planes_Phw.shape[-2:]
    total = planes_Phw.new_zeros((height, width))
    for plane, offset in zip(planes_Phw, offsets, strict=True):
        windows = pair_windows(offset, height, width)
        if windows is None:
            continue
        first, second = windows
        total[first] += plane[first]
        total[second] += plane[first]
    return total


def csr_tensor(crow: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    """Square sparse CSR tensor; PyTorch's notice that CSR is in beta is not passed on to our users."""
    num_nodes = len(crow) - 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(crow, columns, values, size=(num_nodes, num_nodes), check_invariants=False)
