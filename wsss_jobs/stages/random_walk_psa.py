"""PSA's random walk over AffinityNet's affinities: the baseline of WSGCN-P (Ahn and Kwak, CVPR 2018, section 3.3).

Against IRN's walk: the background walks along, as one more class with the score (1 - max CAM)^alpha; the grid has
stride 8, and its CAMs are means over 8 x 8 pixels of the image padded with zeros.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from models.affinity.background_score import background_stack
from models.affinity.config import GRID_STRIDE
from models.affinity.pixel_pairs import half_plane_offsets
from models.pooled_grid import cell_means
from models.propagation.config import PSA_RANDOM_WALK, RandomWalkConfig
from wsss_jobs.records import ARTIFACT_FILE, AffinityNetCheckpoint, Cams, ClassScores
from wsss_jobs.stages.base import (
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
    StageResources,
)
from wsss_jobs.stages.cam_sizes import full_resolution


class RandomWalkPsaConfig(StageConfig):
    """Settings; the defaults are PSA's.

    Attributes:
        walk: Radius, exponent and length of the walk. PSA: 5, 8, 2^8 steps.
        alpha: Exponent of the background's score. PSA: 16; larger leaves less background.
    """

    walk: RandomWalkConfig = PSA_RANDOM_WALK
    alpha: float = Field(default=16.0, gt=0)


class RandomWalkPsa(ItemStage):
    """`Cams`, images and `AffinityNetCheckpoint` in, `ClassScores` at stride 8 out."""

    NAME: ClassVar[str] = "random_walk_psa"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = RandomWalkPsaConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams, "affinity": AffinityNetCheckpoint}
    WRITES: ClassVar[type] = ClassScores
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=0.25)

    def __init__(self, config: RandomWalkPsaConfig, context: StageContext) -> None:
        from wsss_jobs import networks  # needs torch, and planning does without

        self._config = config
        self._device = context.device
        self._offsets = half_plane_offsets(config.walk.radius)
        self._model = networks.load_affinitynet(context.artifacts["affinity"] / ARTIFACT_FILE)
        self._model.to(context.device)

    def _one(self, entry: ItemInput) -> Ok:
        import torch

        from models.affinity.affinitynet_inference import affinity_features
        from models.propagation.pair_affinity import affinity_from_features
        from models.propagation.random_walk import random_walk_on_affinity

        cams: Cams = entry.records["cams"]
        stack_CHW = background_stack(full_resolution(cams, entry.item), self._config.alpha)
        start_Chw = torch.from_numpy(cell_means(stack_CHW, GRID_STRIDE, count_padding=True)).to(self._device)
        affinity_Phw = affinity_from_features(affinity_features(self._model, entry.image), self._offsets)
        walked_Chw = random_walk_on_affinity(start_Chw, affinity_Phw, self._config.walk).float().cpu().numpy()
        return Ok(ClassScores((0, *cams.class_ids), walked_Chw, "activation", corner_aligned=False))
