"""Loss and gradient of the GCN in closed form, with PyTorch operations: the `torch` backend, on a CPU or on CUDA.

Three things make it tens of times faster than plain PyG, and none changes the mathematics: A X is constant, so it is
worked out once; (A H) W2 multiplies the sparse matrix by 16 columns where A (H W2) takes C; and A and its transpose
are both stored, so that no step builds an edge list, a message or a transpose. With

    P = A X W1 + b1,  H = relu(P) * mask,  Z = A H W2 + b2,  l = log_softmax(Z),  q = exp(l),

and k = 2 * laplacian_weight / N, the gradient of the loss (equation 2) at the logits is, per cell i and class c,

    dZ = q_c (ce + en * sum_d q_d l_d) - en * q_c l_c - ce [c = label] + k * smooth,
    smooth = (L l)_c - q_c sum_d (L l)_d           where the Laplacian acts on log-probabilities,
    smooth = q_c ((L q)_c - sum_d q_d (L q)_d)     where it acts on probabilities.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from models.propagation.affinity_graph import StencilAdjacency
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.counter_random import KeepMasks
from models.propagation.gcn.problem import Adjacency, GCNProblem, Parameters
from models.propagation.gcn.solution import GCNSolution, GCNTrace, has_converged
from models.propagation.stencil import csr_tensor

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


def solve_closed_form(problem: GCNProblem, config: GCNConfig, *, with_trace: bool = False) -> GCNSolution:
    """Train the GCN of one image with closed-form gradients and return its class probabilities."""
    model = _ClosedFormGCN(problem, config)
    adam = _Adam(model.parameters, config)
    wants_loss = with_trace or config.tolerance is not None
    losses: list[float] = []
    first_gradients: Parameters | None = None
    num_steps = 0
    while num_steps < config.num_steps and not has_converged(losses, config.tolerance):
        loss, gradients = model.loss_and_gradients(num_steps, wants_loss=wants_loss)
        if num_steps == 0 and with_trace:
            first_gradients = Parameters(*(g.clone() for g in gradients.tensors()))
        adam.update(gradients)
        num_steps += 1
        if loss is not None:
            losses.append(loss)
    prob_hwC = model.probabilities().reshape(problem.graph.height, problem.graph.width, -1).float().cpu()
    trace = GCNTrace(tuple(losses), first_gradients, model.parameters) if with_trace and first_gradients else None
    return GCNSolution(prob_hwC, num_steps, trace)


class _ClosedFormGCN:
    """One image's matrices, weights and buffers."""

    def __init__(self, problem: GCNProblem, config: GCNConfig) -> None:
        dtype = getattr(torch, config.compute_dtype)
        self.has_bias = config.bias
        self.parameters = Parameters(*(t.to(dtype, copy=True) for t in problem.initial.tensors()))
        self.forward_NN, self.backward_NN = _matrix_pair(problem.adjacency, dtype)
        stencil = problem.laplacian
        self.laplacian_NN = stencil.to_csr(stencil.pattern()).to(dtype)
        self.smooths_log = config.loss.laplacian_on == "log_prob"
        self.kappa = 2.0 * config.laplacian_weight / problem.num_nodes
        labels = problem.labels
        self.cross_entropy_N1 = labels.cross_entropy_N.to(dtype)[:, None]
        self.entropy_N1 = labels.entropy_N.to(dtype)[:, None]
        class_N1 = labels.label_N.clamp(max=problem.graph.num_classes - 1)[:, None]  # unlabelled cells have weight 0
        self.target_NC = self.cross_entropy_N1.new_zeros((problem.num_nodes, problem.graph.num_classes))
        self.target_NC.scatter_(1, class_N1, self.cross_entropy_N1)
        propagated_ND = self.forward_NN @ problem.features_ND.to(dtype)
        if config.feature_dtype != "float32":
            propagated_ND = propagated_ND.to(getattr(torch, config.feature_dtype)).to(dtype)
        self.propagated_ND = propagated_ND
        num_hidden = config.hidden_channels
        self.masks = KeepMasks(problem.keys, problem.num_nodes, num_hidden, config.dropout, propagated_ND)
        self.hidden_NU = propagated_ND.new_empty((problem.num_nodes, num_hidden))

    def loss_and_gradients(self, step: int, *, wants_loss: bool) -> tuple[float | None, Parameters]:
        """Loss (where it is wanted) and its gradients under the dropout mask of a step."""
        weight1_DU, bias1_U, weight2_UC, bias2_C = self.parameters.tensors()
        hidden_NU = torch.addmm(bias1_U, self.propagated_ND, weight1_DU, out=self.hidden_NU)
        mask_NU = self.masks.factor(step).mul_(hidden_NU > 0)
        spread_NU = self.forward_NN @ hidden_NU.mul_(mask_NU)
        log_prob_NC = F.log_softmax(torch.addmm(bias2_C, spread_NU, weight2_UC), dim=1)
        loss, logit_gradient_NC = self._loss_at_logits(log_prob_NC, wants_loss=wants_loss)
        hidden_gradient_NU = (self.backward_NN @ (logit_gradient_NC @ weight2_UC.T)).mul_(mask_NU)
        gradients = Parameters(
            self.propagated_ND.T @ hidden_gradient_NU,
            hidden_gradient_NU.sum(dim=0) if self.has_bias else torch.zeros_like(bias1_U),
            spread_NU.T @ logit_gradient_NC,
            logit_gradient_NC.sum(dim=0) if self.has_bias else torch.zeros_like(bias2_C),
        )
        return loss, gradients

    def probabilities(self) -> Tensor:
        """Class probabilities without dropout.

        Shapes:
            returns: [N, C].
        """
        weight1_DU, bias1_U, weight2_UC, bias2_C = self.parameters.tensors()
        hidden_NU = torch.addmm(bias1_U, self.propagated_ND, weight1_DU).relu_()
        return F.softmax(torch.addmm(bias2_C, self.forward_NN @ hidden_NU, weight2_UC), dim=1)

    def _loss_at_logits(self, log_prob_NC: Tensor, *, wants_loss: bool) -> tuple[float | None, Tensor]:
        prob_NC = log_prob_NC.exp()
        smoothed_NC = log_prob_NC if self.smooths_log else prob_NC
        rough_NC = self.laplacian_NN @ smoothed_NC
        weighted_NC = prob_NC * log_prob_NC
        negative_entropy_N1 = weighted_NC.sum(dim=1, keepdim=True)
        loss = None
        if wants_loss:
            loss = 0.5 * self.kappa * (smoothed_NC.double() * rough_NC).sum().item()
            loss -= (self.target_NC.double() * log_prob_NC).sum().item()
            loss -= (self.entropy_N1.double() * negative_entropy_N1).sum().item()
        at_prob_N1 = self.cross_entropy_N1 + self.entropy_N1 * negative_entropy_N1
        if self.smooths_log:
            at_prob_N1 -= self.kappa * rough_NC.sum(dim=1, keepdim=True)
            gradient_NC = rough_NC.mul_(self.kappa)
        else:
            at_prob_N1 -= self.kappa * (prob_NC * rough_NC).sum(dim=1, keepdim=True)
            gradient_NC = rough_NC.mul_(prob_NC).mul_(self.kappa)
        gradient_NC.addcmul_(prob_NC, at_prob_N1).addcmul_(weighted_NC, self.entropy_N1, value=-1.0)
        return loss, gradient_NC.sub_(self.target_NC)


class _Adam:
    """Adam with the L2 penalty in the gradient (Kingma & Ba 2015, algorithm 1), in place, bias correction folded in."""

    def __init__(self, parameters: Parameters, config: GCNConfig) -> None:
        self._weights = parameters.tensors()
        self._means = [torch.zeros_like(w) for w in self._weights]
        self._squares = [torch.zeros_like(w) for w in self._weights]
        self._learning_rate, self._weight_decay = config.learning_rate, config.weight_decay
        self._num_updates = 0

    def update(self, gradients: Parameters) -> None:
        """Take one step."""
        self._num_updates += 1
        first, second = ADAM_BETAS
        step_size = self._learning_rate / (1 - first**self._num_updates)
        root = math.sqrt(1 - second**self._num_updates)
        for weight, mean, square, raw in zip(
            self._weights, self._means, self._squares, gradients.tensors(), strict=True
        ):
            gradient = raw.add(weight, alpha=self._weight_decay)
            mean.mul_(first).add_(gradient, alpha=1 - first)
            square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            weight.addcdiv_(mean, square.sqrt().div_(root).add_(ADAM_EPSILON), value=-step_size)


def _matrix_pair(adjacency: Adjacency, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A and its transpose, both ready to be multiplied from the left."""
    if isinstance(adjacency, StencilAdjacency):
        stencil, pattern = adjacency.stencil, adjacency.stencil.pattern()
        row, column = adjacency.row_scale_hw, adjacency.column_scale_hw
        return stencil.to_csr(pattern, row, column).to(dtype), stencil.to_csr(pattern, column, row).to(dtype)
    matrix = adjacency.to(dtype)
    if matrix.layout == torch.strided:
        return matrix, matrix.T
    transposed: Tensor = matrix.to_sparse_csc()  # the arrays of a CSC tensor are those of its transpose in CSR
    return matrix, csr_tensor(transposed.ccol_indices(), transposed.row_indices(), transposed.values())
