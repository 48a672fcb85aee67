"""Class activation maps of one image, read from a group that it is the first image of.

Source: Zhou et al., TIP 2022, sections IV-B4, IV-B5 (self-ensembling: the maps before and behind the graph are
averaged) and V (min-max normalisation for boxes). The encoder sees each image by itself, so a node is made once and
serves in every group that the image is in.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from models.classifiers.config import CAM_STRIDE
from models.classifiers.multi_scale_cam import MultiScaleCam, resample_maps
from models.classifiers.normalised_cam import divided_by_maximum
from models.errors import InvalidInputError
from models.groupwise.config import GroupCamOptions
from models.groupwise.network import GroupMaps, GroupwiseNet
from models.images import check_image, min_max, resize

Views = tuple[torch.Tensor, ...]


class GroupCamReader:
    """A trained network and how its maps are read."""

    def __init__(self, model: GroupwiseNet, options: GroupCamOptions) -> None:
        heads = {"graph": model.graph_head, "intermediate": model.intermediate_head, "ensemble": model}
        if heads[options.readout] is None:
            msg = f"readout {options.readout!r}: the network was trained without it (loss weight 0); choose another"
            raise InvalidInputError(msg)
        self._model = model.eval()
        self._options = options
        self._views = [
            (self._side(scale), mirrored) for scale in options.scales for mirrored in (False, True)[: 1 + options.flip]
        ]

    @torch.no_grad()
    def encode(self, image_HW3: np.ndarray) -> Views:
        """Returns an image's nodes, one a view, `[C, h, w]`; they depend on nothing but the image."""
        check_image(image_HW3)
        views = []
        for side, mirrored in self._views:
            image_3HW = self._model.encoder.normalisation(resize(image_HW3, (side, side)))
            image_3HW = image_3HW.flip(-1) if mirrored else image_3HW
            views.append(self._model.nodes(image_3HW[None].to(self._device))[0])
        return tuple(views)

    @torch.no_grad()
    def read(
        self, groups: Sequence[Sequence[Views]], size_hw: Sequence[int], class_ids: Sequence[int]
    ) -> MultiScaleCam:
        """Returns the CAMs of the first image of all groups (the same in each), in the order of `class_ids`.

        Maps of several groups are averaged.

        Args:
            groups: For each group, the nodes of its images.
            size_hw: Height and width of the first image.
            class_ids: Ids as in masks, from 1.
        """
        self._check(groups, class_ids)
        channels = torch.tensor([class_id - 1 for class_id in class_ids], device=self._device)
        grids: list[torch.Tensor] = []
        pixels: list[torch.Tensor] = []
        for scale in self._options.scales:
            side = self._side(scale)
            maps_1Khw = self._maps(groups, side)[:, channels]
            for products, stride in ((grids, CAM_STRIDE), (pixels, 1)):
                config = self._model.config.encoder
                products.append(resample_maps(maps_1Khw, (side, side), size_hw, stride, config, "psa"))
        return MultiScaleCam(self._normalised(torch.cat(grids).sum(0)), self._normalised(torch.cat(pixels).sum(0)))

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _side(self, scale: float) -> int:
        side = max(1, round(self._options.input_px * scale))
        return self._model.config.encoder.padded_size((side, side))[0]

    def _maps(self, groups: Sequence[Sequence[Views]], side: int) -> torch.Tensor:
        """Returns the mean map of the first image over groups and mirrors, `[1, L, h, w]`."""
        found = []
        for index, (view_side, mirrored) in enumerate(self._views):
            if view_side != side:
                continue
            for group in groups:
                nodes_1KChw = torch.stack([views[index] for views in group])[None]
                present_1K = torch.ones(nodes_1KChw.shape[:2], dtype=torch.bool, device=self._device)
                maps_1Lhw = self._read_out(self._model.class_maps(nodes_1KChw, present_1K))
                found.append(maps_1Lhw.flip(-1) if mirrored else maps_1Lhw)
        mean_1Lhw = torch.stack(found).mean(dim=0)
        return F.relu(mean_1Lhw) if self._options.normalisation == "max" else mean_1Lhw

    def _read_out(self, maps: GroupMaps) -> torch.Tensor:
        wanted = {"graph": maps.graph_GKLhw, "intermediate": maps.intermediate_GKLhw}
        chosen = [
            maps_GKLhw[:, 0]
            for name, maps_GKLhw in wanted.items()
            if maps_GKLhw is not None and self._options.readout in (name, "ensemble")
        ]
        return torch.stack(chosen).mean(dim=0)

    def _normalised(self, cam_KHW: torch.Tensor) -> torch.Tensor:
        if self._options.normalisation == "max":
            return divided_by_maximum(cam_KHW).cpu()
        return torch.from_numpy(min_max(cam_KHW.cpu().numpy()))

    def _check(self, groups: Sequence[Sequence[Views]], class_ids: Sequence[int]) -> None:
        if not groups or not all(groups):
            msg = "groups must hold at least one group of at least one image"
            raise InvalidInputError(msg)
        if not class_ids or min(class_ids) < 1 or max(class_ids) > self._model.num_foreground:
            msg = f"class_ids must be 1 to {self._model.num_foreground} and at least one; got {list(class_ids)}"
            raise InvalidInputError(msg)
