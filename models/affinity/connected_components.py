"""Connected components of an integer map: a cell belongs to those of its four neighbours that have its value."""

import torch
from torch import Tensor


def connected_components(value_hw: Tensor) -> Tensor:
    """Returns the component of every cell, numbered from 1 in row-major order of their first cells; 0 where value is 0.

    Every cell takes over the smallest node number that a neighbour of its component knows, and then what that node
    knows itself (pointer jumping), so that a component of n cells is done after about log n rounds.

    Shapes:
        value_hw: [h, w], bool or any integer type; any h, w >= 1.
        returns: [h, w] int64.
    """
    first, second = _neighbours(value_hw)
    root = torch.arange(value_hw.numel(), device=value_hw.device)
    while bool((root[first] != root[second]).any()):
        lower = torch.minimum(root[first], root[second])
        for ends in (first, second):
            root = root.scatter_reduce(0, root[ends], lower, "amin")
        root = _compressed(root)
    is_root = (root == torch.arange(len(root), device=root.device)) & (value_hw.reshape(-1) != 0)
    number = is_root.cumsum(0)[root]
    return torch.where(value_hw.reshape(-1) != 0, number, 0).view(value_hw.shape)


def _neighbours(value_hw: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the node numbers of all pairs of neighbours with the same value other than 0."""
    node_hw = torch.arange(value_hw.numel(), device=value_hw.device).view(value_hw.shape)
    across = (value_hw[:, :-1] == value_hw[:, 1:]) & (value_hw[:, 1:] != 0)
    down = (value_hw[:-1] == value_hw[1:]) & (value_hw[1:] != 0)
    first = torch.cat([node_hw[:, :-1][across], node_hw[:-1][down]])
    return first, torch.cat([node_hw[:, 1:][across], node_hw[1:][down]])


def _compressed(root: Tensor) -> Tensor:
    """Returns each node's last root."""
    while bool((root[root] != root).any()):
        root = root[root]
    return root
