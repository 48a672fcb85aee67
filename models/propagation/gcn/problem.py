"""An image's GCN training as numbers: what every backend starts from."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.propagation.affinity_graph import StencilAdjacency, one_hop_adjacency
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.counter_random import dropout_keys, uniform
from models.propagation.gcn.laplacian import laplacian
from models.propagation.grid_graph import IGNORE_LABEL, GridGraph
from models.propagation.stencil import GridStencil
from models.propagation.walk_matrix import truncated_walk_matrix, walk_matrix

Adjacency = StencilAdjacency | Tensor
"""A one-hop graph as a stencil; `walk` as a dense and `truncated` as a CSR tensor [N, N]."""


@dataclass(frozen=True)
class Parameters:
    """Weights of the two layers, or their gradients.

    Shapes:
        weight1_DU: [D, U]; bias1_U: [U]; weight2_UC: [U, C]; bias2_C: [C].
    """

    weight1_DU: Tensor
    bias1_U: Tensor
    weight2_UC: Tensor
    bias2_C: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All four, in the order of the layers."""
        return self.weight1_DU, self.bias1_U, self.weight2_UC, self.bias2_C


@dataclass(frozen=True)
class LabelWeights:
    """Weight of every cell in the cross-entropy and in the entropy: the loss's means over groups, written per cell.

    A group without cells has no weights, so its term is 0.

    Shapes:
        label_N: [N] int64, 255 where unknown; cross_entropy_N, entropy_N: [N] float64.
    """

    label_N: Tensor
    cross_entropy_N: Tensor
    entropy_N: Tensor


@dataclass(frozen=True)
class GCNProblem:
    """One image, prepared. Matrices, loss weights and initial parameters are float64, whatever is computed with.

    Shapes:
        keys: [num_steps, 2] uint32, of the dropout masks.
    """

    graph: GridGraph
    adjacency: Adjacency
    laplacian: GridStencil
    labels: LabelWeights
    initial: Parameters
    keys: NDArray[np.uint32]

    @property
    def num_nodes(self) -> int:
        """Cells of the grid, N."""
        return self.graph.num_nodes

    @functools.cached_property
    def features_ND(self) -> Tensor:
        """Node features, contiguous, in float32 or wider.

        Shapes:
            returns: [N, D].
        """
        features_Dhw = self.graph.features_Dhw
        wide = torch.promote_types(features_Dhw.dtype, torch.float32)
        return features_Dhw.to(wide).flatten(1).T.contiguous()


def prepare(graph: GridGraph, config: GCNConfig) -> GCNProblem:
    """The prepared problem of an image, on the device that its tensors are on.

    Raises:
        InvalidInputError: the graph is too large for a dense walk on a CPU, or its affinity planes do not fit.
    """
    return GCNProblem(
        graph=graph,
        adjacency=_adjacency(graph, config),
        laplacian=laplacian(graph, config),
        labels=label_weights(graph, config),
        initial=initial_parameters(graph, config),
        keys=dropout_keys(config.seed, graph.item_id, config.num_steps),
    )


def label_weights(graph: GridGraph, config: GCNConfig) -> LabelWeights:
    """Weights of the loss's means over foreground, background and unlabelled cells (WSGCN, equations 3 to 5).

    Shapes:
        returns: [N] each, on the device of the labels.
    """
    label_N = graph.label_hw.reshape(-1).to(torch.int64)
    is_unknown, is_background = label_N == IGNORE_LABEL, label_N == 0
    per_class = graph.num_classes if config.loss.entropy_normaliser == "nodes_times_classes" else 1
    cross_entropy_N = _mean_weights(~is_unknown & ~is_background, config.foreground_weight)
    cross_entropy_N += _mean_weights(is_background, config.background_weight)
    return LabelWeights(label_N, cross_entropy_N, _mean_weights(is_unknown, config.entropy_weight / per_class))


def initial_parameters(graph: GridGraph, config: GCNConfig) -> Parameters:
    """Weights before the first step; drawn in float32 so that every type of arithmetic starts from the same numbers.

    Shapes:
        returns: float64, on the device of the features.
    """
    D, U, C = graph.num_features, config.hidden_channels, graph.num_classes
    tensors = []
    for name, shape, num_in, num_out in (
        ("weight1", (D, U), D, U),
        ("bias1", (U,), D, U),
        ("weight2", (U, C), U, C),
        ("bias2", (C,), U, C),
    ):
        is_bias = name.startswith("bias")
        bound = 1 / math.sqrt(num_out) if config.init == "uniform_out" else math.sqrt(6 / (num_in + num_out))
        if is_bias and (config.init == "glorot" or not config.bias):
            bound = 0.0
        values = (bound * uniform(config.seed, graph.item_id, name, shape)).astype(np.float32)
        tensors.append(torch.from_numpy(values).to(graph.features_Dhw.device, torch.float64))
    return Parameters(*tensors)


def _adjacency(graph: GridGraph, config: GCNConfig) -> Adjacency:
    if config.graph.graph == "one_hop":
        storage_dtype = torch.bfloat16 if config.affinity_dtype == "bfloat16" else torch.float64
        return one_hop_adjacency(graph, config.graph, storage_dtype=storage_dtype)
    build = walk_matrix if config.graph.graph == "walk" else truncated_walk_matrix
    return build(graph, config.graph, dtype=getattr(torch, config.compute_dtype))


def _mean_weights(is_member_N: Tensor, weight: float) -> Tensor:
    count = int(is_member_N.sum())
    return is_member_N.to(torch.float64) * (weight / count if count else 0.0)
