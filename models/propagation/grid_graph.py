"""One image as a graph: what is propagated. Which cells are joined how: `AffinityGraphConfig`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.errors import InvalidInputError

IGNORE_LABEL = 255
"""Label of a cell whose class is unknown."""

MAX_CLASSES = 255
"""Class ids are 0..254; 255 means ignored."""


@dataclass(frozen=True)
class GridGraph:
    """One image's propagation problem on its feature grid. NumPy arrays are accepted and become tensors.

    Attributes:
        item_id: keys every random draw, so that an image's result does not depend on its company.
        features_Dhw: node features, any float type.
        image_hw3: the image reduced to the grid, for the Laplacian loss.
        label_hw: partial pseudo label: 0 background, 1..C-1 foreground, 255 unknown; at least one cell is known.
        num_classes: C, classes including background: the width of the GCN's output.
        boundary_hw: boundary probability in 0..1 (IRN), or None where affinities are given.
        affinity_Phw: affinity planes in 0..1 (PSA: `affinity_from_features`) in the order of `half_plane_offsets` of
            the config's radius, or None where a boundary map is given.

    Shapes:
        features_Dhw: [D, h, w]; image_hw3: [h, w, 3] uint8; label_hw: [h, w] uint8; boundary_hw: [h, w];
        affinity_Phw: [P, h, w]. Any h, w >= 1.

    Raises:
        InvalidInputError: a shape, type or range is wrong, a value is not finite, or no cell is labelled.
    """

    item_id: str
    features_Dhw: Tensor
    image_hw3: Tensor
    label_hw: Tensor
    num_classes: int
    boundary_hw: Tensor | None = None
    affinity_Phw: Tensor | None = None

    def __post_init__(self) -> None:
        """Turn arrays into tensors and check them."""
        for name in ("features_Dhw", "image_hw3", "label_hw", "boundary_hw", "affinity_Phw"):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, name, torch.from_numpy(value if value.flags.writeable else value.copy()))
        self._check_shapes()
        self._check_labels()
        _check_finite(self.item_id, "features_Dhw", self.features_Dhw)
        for name, values in (("boundary_hw", self.boundary_hw), ("affinity_Phw", self.affinity_Phw)):
            if values is not None:
                _check_finite(self.item_id, name, values)
                if values.numel() and not (values.min() >= 0 and values.max() <= 1):
                    self._fail(f"{name} must be in 0..1, found {values.min():.4g} to {values.max():.4g}")

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return self.label_hw.shape[0]

    @property
    def width(self) -> int:
        """Columns of the grid."""
        return self.label_hw.shape[1]

    @property
    def num_nodes(self) -> int:
        """Cells of the grid, N = h * w."""
        return self.label_hw.numel()

    @property
    def num_features(self) -> int:
        """Channels of the node features, D."""
        return self.features_Dhw.shape[0]

    def to(self, device: torch.device | str) -> GridGraph:
        """The same graph with its tensors on a device; itself where they are there already."""
        device = torch.device(device)
        names = ("features_Dhw", "image_hw3", "label_hw", "boundary_hw", "affinity_Phw")
        tensors = {name: value for name in names if (value := getattr(self, name)) is not None}
        if all(tensor.device == device for tensor in tensors.values()):
            return self
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def _fail(self, reason: str) -> None:
        message = f"item {self.item_id}: {reason}"
        raise InvalidInputError(message)

    def _check_shapes(self) -> None:
        grid = tuple(self.label_hw.shape)
        if len(grid) != 2 or 0 in grid or self.label_hw.dtype != torch.uint8:
            self._fail(f"label_hw must be a non-empty uint8 [h, w], got {self.label_hw.dtype} {list(grid)}")
        if self.image_hw3.dtype != torch.uint8 or tuple(self.image_hw3.shape) != (*grid, 3):
            self._fail(f"image_hw3 must be uint8 {[*grid, 3]}, got {self.image_hw3.dtype} {list(self.image_hw3.shape)}")
        if (self.boundary_hw is None) == (self.affinity_Phw is None):
            self._fail("give exactly one of boundary_hw and affinity_Phw")
        self._check_float_grid("features_Dhw", self.features_Dhw, grid, num_dimensions=3)
        if self.boundary_hw is not None:
            self._check_float_grid("boundary_hw", self.boundary_hw, grid, num_dimensions=2)
        if self.affinity_Phw is not None:
            self._check_float_grid("affinity_Phw", self.affinity_Phw, grid, num_dimensions=3)

    def _check_float_grid(self, name: str, values: Tensor, grid: tuple[int, ...], *, num_dimensions: int) -> None:
        is_right = values.is_floating_point() and values.dim() == num_dimensions and tuple(values.shape[-2:]) == grid
        if not is_right or values.numel() == 0:
            self._fail(
                f"{name} must be a non-empty float tensor on the grid {list(grid)}, "
                f"got {values.dtype} {list(values.shape)}"
            )

    def _check_labels(self) -> None:
        if not 2 <= self.num_classes <= MAX_CLASSES:
            self._fail(f"num_classes must be in 2..{MAX_CLASSES}, got {self.num_classes}")
        known = self.label_hw[self.label_hw != IGNORE_LABEL]
        if known.numel() == 0:
            self._fail("label_hw has no labelled cell, so there is nothing to learn from; use the random walk's label")
        if int(known.max()) >= self.num_classes:
            self._fail(f"label_hw must be below num_classes={self.num_classes} or 255, found {int(known.max())}")


def _check_finite(item_id: str, name: str, values: Tensor) -> None:
    if not bool(torch.isfinite(torch.stack(torch.aminmax(values))).all()):  # a NaN is both minimum and maximum
        message = f"item {item_id}: {name} holds NaN or infinite values"
        raise InvalidInputError(message)
