"""IRN's random walk over the boundary map: the baseline of WSGCN-I (Ahn et al., CVPR 2019, section 4.3).

Where the recipe asks for them, it also reads out instances: the same walk for the part of each map that belongs to one
centroid of the displacement field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from models.propagation.config import InstanceConfig, RandomWalkConfig
from models.propagation.instances import InstanceMasks
from wsss_jobs.errors import ConfigError
from wsss_jobs.quality.otsu import SEPARATION, otsu_threshold, score_histogram
from wsss_jobs.records import ARTIFACT_FILE, INSTANCE_MASKS, Cams, ClassScores, IRNetCheckpoint
from wsss_jobs.stages.base import (
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
    StageResources,
)
from wsss_jobs.stages.cam_sizes import check_finite

if TYPE_CHECKING:
    import torch

    from models.affinity.irnet_inference import BoundaryFeatures

_STRIDE = 4


class RandomWalkStageConfig(StageConfig):
    """Settings; the defaults are IRN's.

    Attributes:
        walk: Radius, exponent and length of the walk.
        background_threshold: Constant score of the background after the walk. IRN: 0.25.
        instances: Also make instance masks, stored by the mask stage that reads these scores; `{}` for IRN's values.
            Needs `with_displacement` in train_affinity. Takes one walk for each class and centroid.
    """

    walk: RandomWalkConfig = Field(default_factory=RandomWalkConfig)
    background_threshold: float = Field(default=0.25, ge=0, le=1)
    instances: InstanceConfig | None = None


class RandomWalkStage(ItemStage):
    """`Cams`, images and `IRNetCheckpoint` in, `ClassScores` at stride 4 out, with instance masks if asked for."""

    NAME: ClassVar[str] = "random_walk"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = RandomWalkStageConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams, "affinity": IRNetCheckpoint}
    WRITES: ClassVar[type] = ClassScores
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=0.25)

    @staticmethod
    def extra_masks(config: RandomWalkStageConfig) -> tuple[str, ...]:
        """Returns the instance masks where they are asked for."""
        return () if config.instances is None else (INSTANCE_MASKS,)

    @staticmethod
    def check_inputs(name: str, config: RandomWalkStageConfig, feeders: Mapping[str, StageConfig]) -> None:
        """Rejects instances from a network that is trained without displacements."""
        if config.instances is not None and not getattr(feeders["affinity"], "with_displacement", True):
            message = f"stages.{name}.instances: its affinity network is trained without displacements"
            raise ConfigError(f"{message}; set `with_displacement: true` there")

    def __init__(self, config: RandomWalkStageConfig, context: StageContext) -> None:
        from wsss_jobs import networks  # needs torch, and planning does without

        self._config = config
        self._device = context.device
        self._model, self._encoder = networks.load_irnet(context.artifacts["affinity"] / ARTIFACT_FILE)
        self._model.to(context.device)

    def _one(self, entry: ItemInput) -> Ok:
        import torch

        from models.affinity.irnet_inference import boundary_features
        from models.propagation.random_walk import random_walk

        cams: Cams = entry.records["cams"]
        check_finite(cams, entry.item)
        found = boundary_features(self._model, entry.image, self._encoder)
        cam_Khw = torch.from_numpy(cams.cam_Khw.astype(np.float32)).to(self._device)
        walked_Khw = random_walk(cam_Khw, found.boundary_hw, self._config.walk).float()
        walked_Khw = walked_Khw / self._full_resolution_maximum(walked_Khw, entry.item.height_px, entry.item.width_px)
        background_1hw = torch.full_like(walked_Khw[:1], self._config.background_threshold)
        scores_Chw = torch.cat([background_1hw, walked_Khw]).cpu().numpy()
        instances = self._instances(cam_Khw, cams.class_ids, found, entry)
        scores = {} if instances is None else {"num_instances": float(len(instances.instances))}
        separation = otsu_threshold(score_histogram(scores_Chw[1:]))
        if separation is not None:
            scores[SEPARATION] = separation
        record = ClassScores((0, *cams.class_ids), scores_Chw, "activation", corner_aligned=False, instances=instances)
        return Ok(record, scores)

    def _instances(
        self, cam_Khw: torch.Tensor, class_ids: Sequence[int], found: BoundaryFeatures, entry: ItemInput
    ) -> InstanceMasks | None:
        if self._config.instances is None:
            return None
        from models.propagation.instance_masks import instance_masks

        assert found.displacement_2hw is not None  # check_inputs has seen to it
        size_HW = (entry.item.height_px, entry.item.width_px)
        return instance_masks(
            cam_Khw,
            class_ids,
            found.boundary_hw,
            found.displacement_2hw,
            size_HW,
            self._config.walk,
            self._config.instances,
        )

    @staticmethod
    def _full_resolution_maximum(walked_Khw: torch.Tensor, height_px: int, width_px: int) -> torch.Tensor:
        """Returns the one maximum over classes and pixels that IRN divides by, taken after up-sampling and cropping."""
        from torch.nn import functional as F

        up = F.interpolate(walked_Khw[None], scale_factor=_STRIDE, mode="bilinear", align_corners=False)
        return up[..., :height_px, :width_px].amax().clamp_min(1e-12)  # a walk that lost all mass stays background
