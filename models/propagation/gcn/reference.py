"""The oracle: PyG's `GCNConv`, autograd, `torch.optim.Adam` and the loss as the equations are written (WSGCN, 1 to 7).

Written to be read and to be compared with, in float32 or float64; every other backend is tested against it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from models.affinity.pixel_pairs import pair_windows
from models.propagation.affinity_graph import StencilAdjacency
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.counter_random import KeepMasks
from models.propagation.gcn.problem import Adjacency, GCNProblem, Parameters
from models.propagation.gcn.solution import GCNSolution, GCNTrace, has_converged
from models.propagation.grid_graph import IGNORE_LABEL
from models.propagation.stencil import GridStencil


def solve_reference(problem: GCNProblem, config: GCNConfig, *, with_trace: bool = False) -> GCNSolution:
    """Train the GCN of one image with autograd and return its class probabilities."""
    model = _ReferenceGCN(problem, config)
    optimiser = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], lr=config.learning_rate, weight_decay=config.weight_decay
    )
    losses: list[float] = []
    first_gradients: Parameters | None = None
    for step in range(config.num_steps):
        optimiser.zero_grad()
        loss = total_loss(model(step), problem, config)
        torch.autograd.backward(loss)
        if step == 0 and with_trace:
            first_gradients = model.gradients()
        optimiser.step()
        losses.append(loss.item())
        if has_converged(losses, config.tolerance):
            break
    with torch.no_grad():
        prob_NC = model(None).exp()
    prob_hwC = prob_NC.reshape(problem.graph.height, problem.graph.width, -1).float().cpu()
    trace = GCNTrace(tuple(losses), first_gradients, model.values()) if with_trace and first_gradients else None
    return GCNSolution(prob_hwC, len(losses), trace)


def total_loss(log_prob_NC: Tensor, problem: GCNProblem, config: GCNConfig) -> Tensor:
    """Foreground, background, entropy and Laplacian losses, weighted (equation 2); a term without cells is 0.

    Shapes:
        log_prob_NC: [N, C].
        returns: scalar.
    """
    label_N = problem.labels.label_N
    is_unknown, is_background = label_N == IGNORE_LABEL, label_N == 0
    loss = log_prob_NC.new_zeros(())
    for is_member, weight in (
        (~is_unknown & ~is_background, config.foreground_weight),
        (is_background, config.background_weight),
    ):
        if is_member.any():
            loss = loss + weight * F.nll_loss(log_prob_NC[is_member], label_N[is_member])
    if is_unknown.any():
        log_prob_MC = log_prob_NC[is_unknown]
        entropy_MC = -log_prob_MC.exp() * log_prob_MC
        is_per_class = config.loss.entropy_normaliser == "nodes_times_classes"
        loss = loss + config.entropy_weight * (entropy_MC.mean() if is_per_class else entropy_MC.sum(dim=1).mean())
    smoothed_NC = log_prob_NC if config.loss.laplacian_on == "log_prob" else log_prob_NC.exp()
    return loss + config.laplacian_weight * laplacian_loss(smoothed_NC, problem.laplacian)


def laplacian_loss(value_NC: Tensor, laplacian: GridStencil) -> Tensor:
    """`(1 / N) * sum over unordered pairs of Phi_ij |value_i - value_j|^2` (equation 6).

    Shapes:
        value_NC: [N, C].
        returns: scalar.
    """
    value_hwC = value_NC.reshape(laplacian.height, laplacian.width, -1)
    total = value_NC.new_zeros(())
    for offset, plane in zip(laplacian.offsets, laplacian.planes_Phw, strict=True):
        windows = pair_windows(offset, laplacian.height, laplacian.width)
        if windows is None:
            continue
        first, second = windows
        phi = -plane[first].to(value_NC.dtype)
        total = total + (phi * (value_hwC[first] - value_hwC[second]).square().sum(dim=-1)).sum()
    return total / len(value_NC)


def edge_list(adjacency: Adjacency, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`edge_index` and `edge_weight` as PyG takes them: messages go from `edge_index[0]` to `edge_index[1]`.

    Shapes:
        returns: [2, nnz] int64 and [nnz].
    """
    if isinstance(adjacency, StencilAdjacency):
        stencil = adjacency.stencil
        matrix = stencil.to_csr(stencil.pattern(), adjacency.row_scale_hw, adjacency.column_scale_hw)
    elif adjacency.layout == torch.strided:
        matrix = adjacency.to_sparse_csr()
    else:
        matrix = adjacency
    counts = matrix.crow_indices().long().diff()
    row = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    return torch.stack([matrix.col_indices().long(), row]), matrix.values().to(dtype)


class _ReferenceGCN(nn.Module):
    """Equation 1 as two PyG layers; the dropout mask comes from the shared hash."""

    def __init__(self, problem: GCNProblem, config: GCNConfig) -> None:
        super().__init__()
        dtype = getattr(torch, config.compute_dtype)
        num_features, num_hidden = problem.initial.weight1_DU.shape
        num_classes = problem.graph.num_classes
        self.layer1 = GCNConv(num_features, num_hidden, normalize=False, bias=config.bias)
        self.layer2 = GCNConv(num_hidden, num_classes, normalize=False, bias=config.bias)
        self.to(problem.features_ND.device, dtype)
        with torch.no_grad():
            for target, value in zip(self._tensors(), problem.initial.tensors(), strict=True):
                if target is not None:
                    target.copy_(value.T if value.dim() == 2 else value)
        self.edges = edge_list(problem.adjacency, dtype)
        self.features_ND = problem.features_ND.to(dtype)
        self.feature_dtype = getattr(torch, config.feature_dtype)
        like = self.features_ND
        self.masks = KeepMasks(problem.keys, problem.num_nodes, num_hidden, config.dropout, like)

    def forward(self, step: int | None) -> Tensor:
        """Log-probabilities [N, C]; a step's dropout mask is applied where a step is given."""
        hidden_NU = F.relu(self._first_layer())
        if step is not None:
            hidden_NU = hidden_NU * self.masks.factor(step).clone()
        return F.log_softmax(self.layer2(hidden_NU, *self.edges), dim=1)

    def _first_layer(self) -> Tensor:
        """A X W1 + b1; with rounded propagated features, A X has to be worked out before W1 is applied."""
        if self.feature_dtype == torch.float32:
            first_NU: Tensor = self.layer1(self.features_ND, *self.edges)
            return first_NU
        propagated_ND = self.layer1.propagate(self.edges[0], x=self.features_ND, edge_weight=self.edges[1])
        rounded_ND = propagated_ND.to(self.feature_dtype).to(self.features_ND.dtype)
        rounded_NU: Tensor = self.layer1.lin(rounded_ND)
        return rounded_NU if self.layer1.bias is None else rounded_NU + self.layer1.bias

    def gradients(self) -> Parameters:
        """Gradients in our layout; zeros for a bias that is off."""
        return self._as_parameters([None if p is None else p.grad for p in self._tensors()])

    def values(self) -> Parameters:
        """Weights in our layout; zeros for a bias that is off."""
        return self._as_parameters(self._tensors())

    def _tensors(self) -> list[Tensor | None]:
        return [self.layer1.lin.weight, self.layer1.bias, self.layer2.lin.weight, self.layer2.bias]

    def _as_parameters(self, tensors: list[Tensor | None]) -> Parameters:
        sizes = (0, self.layer1.out_channels, 0, self.layer2.out_channels)
        like = self.features_ND
        copies = [
            like.new_zeros(size) if t is None else (t.detach().T if t.dim() == 2 else t.detach()).clone()
            for t, size in zip(tensors, sizes, strict=True)
        ]
        return Parameters(*copies)
