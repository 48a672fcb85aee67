"""The `triton` backend's memory on the device, and the order of its kernels: many images train in the same launches.

A `TritonBatch` has room for a number of images of up to a number of cells, whatever their shapes. Its arrays stay where
they are, so that all steps of a training can be recorded once as a CUDA graph, and replayed for every batch after it:
a step is six launches of a few microseconds each, and Python would take longer to make them than the GPU to do them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from models.affinity.pixel_pairs import Offset
from models.propagation.affinity_graph import StencilAdjacency
from models.propagation.gcn import triton_kernels as kernels
from models.propagation.gcn.closed_form import ADAM_BETAS, ADAM_EPSILON
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.counter_random import keep_threshold
from models.propagation.gcn.problem import GCNProblem, Parameters
from models.propagation.stencil import GridStencil

HIDDEN = 16
TILE = 64
TILES_IN_CHUNK = 8
FEATURES_AT_ONCE = 32
WEIGHTS_AT_ONCE = 128


@dataclass(frozen=True)
class BatchShape:
    """What the arrays and the recorded launches depend on, beside the config."""

    num_images: int
    max_nodes: int
    num_features: int
    num_classes: int
    offsets: tuple[Offset, ...]
    laplacian_offsets: tuple[Offset, ...]

    @property
    def num_weights(self) -> int:
        """Numbers of both layers, with all 16 hidden units."""
        return (self.num_features + 1) * HIDDEN + (HIDDEN + 1) * self.num_classes

    @property
    def classes_padded(self) -> int:
        """Classes in a tile: a power of two, at least what `tl.dot` multiplies."""
        return max(16, 1 << (self.num_classes - 1).bit_length())

    @property
    def num_tiles(self) -> int:
        """Tiles of an image, at most."""
        return math.ceil(self.max_nodes / TILE)

    @property
    def num_chunks(self) -> int:
        """Chunks of tiles of an image, at most."""
        return math.ceil(self.num_tiles / TILES_IN_CHUNK)

    def bytes_per_image(self, num_steps: int) -> int:
        """Device memory that one image takes while it is trained, without what prepares it."""
        per_node = self.num_features + len(self.offsets) + len(self.laplacian_offsets) + 3 * HIDDEN + self.num_classes
        per_node += 7  # two diagonals, two scales, label and its two weights
        parts = self.num_chunks * (self.num_features + 1) * HIDDEN
        parts += self.num_tiles * ((HIDDEN + 1) * self.classes_padded + 1)
        return 4 * (self.max_nodes * per_node + parts + 4 * self.num_weights + 4 * num_steps)


class TritonBatch:
    """Arrays, launches, and their recording."""

    def __init__(self, shape: BatchShape, config: GCNConfig, device: torch.device) -> None:
        self.shape, self._config, self._device = shape, config, device
        images, nodes = shape.num_images, shape.max_nodes
        self.sizes = self._zeros(images, 2, dtype=torch.int32)
        self.propagated = self._zeros(images, nodes, shape.num_features)
        self.planes = self._zeros(images, len(shape.offsets), nodes)
        self.laplacian_planes = self._zeros(images, len(shape.laplacian_offsets), nodes)
        self.diagonal, self.laplacian_diagonal, self.row_scale, self.column_scale = self._zeros(4, images, nodes)
        self.labels = self._zeros(images, nodes, dtype=torch.int32)
        self.cross_entropy, self.entropy = self._zeros(2, images, nodes)
        self.kappas = self._zeros(images)
        self.hidden, self.spread, self.spread_gradient = self._zeros(3, images, nodes, HIDDEN)
        self.log_prob = self._zeros(images, shape.num_classes, nodes)
        self.weights, self.means, self.squares, self.gradients = self._zeros(4, images, shape.num_weights)
        self.weight1_parts = self._zeros(images, shape.num_chunks, shape.num_features + 1, HIDDEN)
        self.weight2_parts = self._zeros(images, shape.num_tiles, HIDDEN + 1, shape.classes_padded)
        self.tile_losses = self._zeros(images, shape.num_tiles)
        self.losses = self._zeros(max(config.num_steps, 1), images, dtype=torch.float64)
        self.keys = self._zeros(max(config.num_steps, 1), images, 2, dtype=torch.int32)
        self.rates = torch.tensor(adam_rates(config), dtype=torch.float32, device=device).reshape(-1, 2)
        self.step = self._zeros(1, dtype=torch.int32)
        self.offsets = _offsets(shape.offsets, device)
        self.laplacian_offsets = _offsets(shape.laplacian_offsets, device)
        self._recording: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda" and config.num_steps:
            self._record()

    @property
    def num_bytes(self) -> int:
        """Device memory of all arrays, about."""
        return self.shape.num_images * self.shape.bytes_per_image(self._config.num_steps)

    def load(self, problems: Sequence[GCNProblem]) -> None:
        """Copies the images' matrices, labels and first weights, and works out A X.

        Raises:
            ValueError: more images than there is room for.
        """
        if len(problems) > self.shape.num_images:
            message = f"{len(problems)} images for {self.shape.num_images} places"
            raise ValueError(message)
        for array in (self.sizes, self.means, self.squares, self.step):
            array.zero_()
        for place, problem in enumerate(problems):
            self._load(place, problem)

    def train(self) -> None:
        """All steps; on CUDA one replay."""
        if self._recording is not None:
            self._recording.replay()
            return
        for _ in range(self._config.num_steps):
            self.train_step()

    def train_step(self) -> None:
        """One step, launch by launch."""
        shape, common = self.shape, self._common()
        self._class_scores(is_training=True)
        kernels.loss_gradient[self._tiles](
            self.log_prob, self.spread, self.weights, self.laplacian_planes, self.laplacian_diagonal,
            self.laplacian_offsets, self.row_scale, self.labels, self.cross_entropy, self.entropy, self.kappas,
            self.spread_gradient, self.tile_losses, self.weight2_parts, self.sizes, shape.max_nodes, shape.num_tiles,
            shape.num_features, shape.num_weights, CLASSES=shape.num_classes, CLASSES_PADDED=shape.classes_padded,
            PLANES=len(shape.laplacian_offsets), SMOOTHS_LOG=self._config.loss.laplacian_on == "log_prob", TILE=TILE,
        )  # fmt: skip
        kernels.hidden_gradient[self._tiles](
            self.spread_gradient, self.hidden, self.planes, self.diagonal, self.column_scale, self.offsets, self.sizes,
            shape.max_nodes, self._keep_scale, PLANES=len(shape.offsets), TILE=TILE,
        )  # fmt: skip
        kernels.weight1_gradient[(shape.num_chunks, shape.num_images, self._feature_blocks)](
            self.propagated, self.hidden, self.weight1_parts, self.sizes, shape.max_nodes, shape.num_chunks,
            shape.num_features, TILE=TILE, TILES_IN_CHUNK=TILES_IN_CHUNK, FEATURES_AT_ONCE=FEATURES_AT_ONCE,
        )  # fmt: skip
        kernels.update_weights[(triton.cdiv(shape.num_weights, WEIGHTS_AT_ONCE), shape.num_images)](
            self.weights, self.means, self.squares, self.gradients, self.weight1_parts, self.weight2_parts,
            self.tile_losses, self.losses, self.rates, self.step, self.sizes, shape.num_tiles, shape.num_chunks,
            shape.num_images, shape.num_features, shape.num_weights, self._config.weight_decay, ADAM_EPSILON,
            HAS_BIAS=self._config.bias, FIRST_BETA=ADAM_BETAS[0], SECOND_BETA=ADAM_BETAS[1],
            TILES_IN_CHUNK=TILES_IN_CHUNK, WEIGHTS_AT_ONCE=WEIGHTS_AT_ONCE, **common,
        )  # fmt: skip
        self.step.add_(1)

    def probabilities(self, place: int, num_nodes: int) -> Tensor:
        """Class probabilities of one image, after `read_out`.

        Shapes:
            returns: [N, C].
        """
        return self.log_prob[place, :, :num_nodes].exp().T

    def read_out(self) -> None:
        """Works out all images' log-probabilities without dropout."""
        self._class_scores(is_training=False)

    def parameters(self, place: int, flat: Tensor) -> Parameters:
        """One image's weights, or their gradients, out of `weights` or `gradients`."""
        shape, units = self.shape, self._config.hidden_channels
        sizes = [shape.num_features * HIDDEN, HIDDEN, HIDDEN * shape.num_classes, shape.num_classes]
        weight1, bias1, weight2, bias2 = torch.split(flat[place].detach().clone(), sizes)
        return Parameters(
            weight1.view(-1, HIDDEN)[:, :units], bias1[:units], weight2.view(HIDDEN, -1)[:units], bias2
        )  # fmt: skip

    @property
    def _tiles(self) -> tuple[int, int]:
        return self.shape.num_tiles, self.shape.num_images

    @property
    def _feature_blocks(self) -> int:
        return math.ceil(self.shape.num_features / FEATURES_AT_ONCE)

    @property
    def _keep_scale(self) -> float:
        return 1.0 / (1.0 - self._config.dropout)

    def _common(self) -> dict[str, int]:
        return {"CLASSES": self.shape.num_classes, "CLASSES_PADDED": self.shape.classes_padded, "TILE": TILE}

    def _class_scores(self, *, is_training: bool) -> None:
        shape = self.shape
        kernels.hidden_layer[self._tiles](
            self.propagated, self.weights, self.column_scale, self.hidden, self.keys, self.step, self.sizes,
            shape.max_nodes, shape.num_images, shape.num_features, shape.num_weights, self._keep_scale,
            UNITS=self._config.hidden_channels, THRESHOLD=keep_threshold(self._config.dropout), TRAIN=is_training,
            TILE=TILE, FEATURES_AT_ONCE=FEATURES_AT_ONCE,
        )  # fmt: skip
        kernels.class_scores[self._tiles](
            self.hidden, self.weights, self.planes, self.diagonal, self.row_scale, self.offsets, self.spread,
            self.log_prob, self.sizes, shape.max_nodes, shape.num_features, shape.num_weights,
            PLANES=len(shape.offsets), **self._common(),
        )  # fmt: skip

    def _record(self) -> None:
        """Compiles every kernel by a step over no image, and records all steps."""
        self.train_step()
        torch.cuda.synchronize(self._device)
        recording = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(recording):
            for _ in range(self._config.num_steps):
                self.train_step()
        self._recording = recording

    def _load(self, place: int, problem: GCNProblem) -> None:
        graph, adjacency = problem.graph, problem.adjacency
        assert isinstance(adjacency, StencilAdjacency)  # no other graph comes here
        nodes = graph.num_nodes
        self.sizes[place] = torch.tensor([nodes, graph.width], dtype=torch.int32)
        _copy_stencil(adjacency.stencil, self.planes[place], self.diagonal[place])
        _copy_stencil(problem.laplacian, self.laplacian_planes[place], self.laplacian_diagonal[place])
        for target, values in (
            (self.row_scale, adjacency.row_scale_hw),
            (self.column_scale, adjacency.column_scale_hw),
            (self.labels, problem.labels.label_N),
            (self.cross_entropy, problem.labels.cross_entropy_N),
            (self.entropy, problem.labels.entropy_N),
        ):
            target[place, :nodes] = values.reshape(-1).to(target.dtype)
        self.kappas[place] = 2.0 * self._config.laplacian_weight / nodes
        keys = torch.from_numpy(problem.keys.view("int32"))
        self.keys[: len(keys), place] = keys.to(self._device)
        self.weights[place] = _flat_weights(problem.initial)
        self._propagate(place, problem)

    def _propagate(self, place: int, problem: GCNProblem) -> None:
        shape, nodes = self.shape, problem.num_nodes
        adjacency = problem.adjacency
        assert isinstance(adjacency, StencilAdjacency)
        scaled = problem.graph.features_Dhw.float() * adjacency.column_scale_hw.float()
        features = scaled.new_zeros((shape.num_features, shape.max_nodes))
        features[:, :nodes] = scaled.flatten(1)
        one = slice(place, place + 1)
        kernels.propagate_features[(shape.num_tiles, 1, self._feature_blocks)](
            features, self.propagated[one], self.planes[one], self.diagonal[one], self.row_scale[one], self.offsets,
            self.sizes[one], shape.max_nodes, shape.num_features, PLANES=len(shape.offsets), TILE=TILE,
            FEATURES_AT_ONCE=FEATURES_AT_ONCE,
        )  # fmt: skip
        if self._config.feature_dtype != "float32":
            rounded = self.propagated[place].to(getattr(torch, self._config.feature_dtype))
            self.propagated[place] = rounded.float()

    def _zeros(self, *sizes: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(sizes, dtype=dtype, device=self._device)


def adam_rates(config: GCNConfig) -> list[tuple[float, float]]:
    """Per step, the learning rate over the first moment's bias, and the root of the second moment's."""
    first, second = ADAM_BETAS
    return [
        (config.learning_rate / (1 - first**update), math.sqrt(1 - second**update))
        for update in range(1, max(config.num_steps, 1) + 1)
    ]


def _offsets(offsets: Sequence[Offset], device: torch.device) -> Tensor:
    return torch.tensor(offsets, dtype=torch.int32, device=device).reshape(-1, 2)


def _copy_stencil(stencil: GridStencil, planes_PN: Tensor, diagonal_N: Tensor) -> None:
    nodes = stencil.diagonal_hw.numel()
    planes_PN[:, :nodes] = stencil.planes_Phw.flatten(1).float()
    diagonal_N[:nodes] = stencil.diagonal_hw.reshape(-1).float()


def _flat_weights(parameters: Parameters) -> Tensor:
    """All weights one after the other, with zeros for the units that are not there."""
    weight1_DU, bias1_U, weight2_UC, bias2_C = (tensor.float() for tensor in parameters.tensors())
    missing = HIDDEN - len(bias1_U)
    pad = torch.nn.functional.pad
    parts = (pad(weight1_DU, (0, missing)), pad(bias1_U, (0, missing)), pad(weight2_UC, (0, 0, 0, missing)), bias2_C)
    return torch.cat([part.reshape(-1) for part in parts])
