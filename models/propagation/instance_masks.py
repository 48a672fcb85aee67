"""Instance masks: class activation maps parted by instance, each spread by the random walk (IRN, Ahn et al. 2019).

Source: section on pseudo labels of instances, and the released code (`make_ins_seg_labels`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.affinity.connected_components import connected_components
from models.affinity.instance_centroids import cluster_cells, refine_centroids
from models.images import stride_of
from models.propagation.config import InstanceConfig, RandomWalkConfig
from models.propagation.instances import MAX_INSTANCES, Instance, InstanceMasks
from models.propagation.random_walk import random_walk

_MAPS_AT_ONCE = 32  # bounds the memory of the walk and of the up-sampling


def instance_masks(
    cam_Khw: Tensor,
    class_ids: Sequence[int],
    boundary_hw: Tensor,
    displacement_2hw: Tensor,
    size_HW: tuple[int, int],
    walk: RandomWalkConfig,
    config: InstanceConfig,
) -> InstanceMasks:
    """Returns the instances of one image.

    Each class's map is parted by the cells' instances, every part walks alone, and a pixel belongs to the part with
    the highest score there, if that is above the background's. The connected pieces of a part are instances each.

    Shapes:
        cam_Khw: [K, h, w], in [0, 1]. boundary_hw: [h, w], in [0, 1]. displacement_2hw: [2, h, w], in cells.

    Raises:
        InvalidInputError: Shapes differ, or a value is not finite or out of range.
    """
    centroid_2hw = refine_centroids(displacement_2hw, config.num_refinements)
    cluster_hw = cluster_cells(displacement_2hw, centroid_2hw, config.max_displacement)
    parts = _parts(cam_Khw, cluster_hw)
    score_HW = torch.zeros(size_HW, device=cam_Khw.device)
    part_HW = torch.zeros(size_HW, dtype=torch.int64, device=cam_Khw.device)
    for number, walked_HW in enumerate(_walked(cam_Khw, cluster_hw, parts, boundary_hw, walk, size_HW), start=1):
        better_HW = walked_HW > score_HW
        score_HW[better_HW] = walked_HW[better_HW]
        part_HW[better_HW] = number
    score_HW = score_HW / score_HW.max().clamp_min(1e-12)  # a walk that lost all mass stays background
    part_HW[score_HW <= config.background_threshold] = 0
    class_of_part = [class_ids[local] for local, _ in parts]
    piece_HW = connected_components(part_HW)
    return _read_out(piece_HW.cpu().numpy(), part_HW.cpu().numpy(), score_HW.cpu().numpy(), class_of_part, config)


def _parts(cam_Khw: Tensor, cluster_hw: Tensor) -> list[tuple[int, int]]:
    """Returns the pairs of class (as index) and cluster whose part of the map is not empty, class by class."""
    num_clusters = int(cluster_hw.max()) + 1
    mass_KI = cam_Khw.new_zeros((len(cam_Khw), num_clusters)).index_add_(1, cluster_hw.view(-1), cam_Khw.flatten(1))
    return [(int(local), int(cluster)) for local, cluster in mass_KI.nonzero()]


def _walked(
    cam_Khw: Tensor,
    cluster_hw: Tensor,
    parts: Sequence[tuple[int, int]],
    boundary_hw: Tensor,
    walk: RandomWalkConfig,
    size_HW: tuple[int, int],
) -> Iterator[Tensor]:
    """Yields each part's scores after the walk, at full resolution."""
    stride = stride_of(cluster_hw.shape, size_HW)
    for start in range(0, len(parts), _MAPS_AT_ONCE):
        some = parts[start : start + _MAPS_AT_ONCE]
        maps_Phw = torch.stack([cam_Khw[local] * (cluster_hw == cluster) for local, cluster in some])
        for walked_hw in random_walk(maps_Phw, boundary_hw, walk).float():
            up = F.interpolate(walked_hw[None, None], scale_factor=stride, mode="bilinear", align_corners=False)
            yield up[0, 0, : size_HW[0], : size_HW[1]]


def _read_out(
    piece_HW: np.ndarray,
    part_HW: np.ndarray,
    score_HW: np.ndarray,
    class_of_part: Sequence[int],
    config: InstanceConfig,
) -> InstanceMasks:
    num_pieces = int(piece_HW.max())
    found = [
        (_instance(piece_HW == number, part_HW, score_HW, class_of_part, config), number)
        for number in range(1, num_pieces + 1)
    ]
    found.sort(key=lambda pair: (-pair[0].score, -pair[0].num_px, pair[1]))
    id_of_piece = np.zeros(num_pieces + 1, dtype=np.uint8)
    for instance_id, (_, number) in enumerate(found[:MAX_INSTANCES], start=1):
        id_of_piece[number] = instance_id
    return InstanceMasks(id_of_piece[piece_HW], tuple(instance for instance, _ in found[:MAX_INSTANCES]))


def _instance(
    mask_HW: np.ndarray, part_HW: np.ndarray, score_HW: np.ndarray, class_of_part: Sequence[int], config: InstanceConfig
) -> Instance:
    rows, columns = np.nonzero(mask_HW)
    is_large = len(rows) >= config.min_area_fraction * mask_HW.size
    top, left = int(rows.min()), int(columns.min())
    return Instance(
        class_id=class_of_part[part_HW[rows[0], columns[0]] - 1],
        score=float(score_HW[mask_HW].max()) if is_large else 0.0,
        num_px=len(rows),
        x_px=left,
        y_px=top,
        width_px=int(columns.max()) - left + 1,
        height_px=int(rows.max()) - top + 1,
    )
