"""CAMs spread over patches that attend to each other: ACR + ViT (Kweon et al., CVPR 2023, section 5.4)."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from wsss_jobs.records import ARTIFACT_FILE, Cams, TransformerCheckpoint
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageConfig, StageContext, StageResources
from wsss_jobs.stages.cam_sizes import check_finite


class RefineCamsConfig(StageConfig):
    """Settings.

    Attributes:
        scales: Image scales, each plain and mirrored. (1.0,): MCTformer's released code.
    """

    scales: tuple[float, ...] = Field(default=(1.0,), min_length=1)


class RefineCams(ItemStage):
    """`Cams`, images and `TransformerCheckpoint` in, `Cams` at stride 4 and, where they came so, full size out."""

    NAME: ClassVar[str] = "refine_cams"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = RefineCamsConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams, "transformer": TransformerCheckpoint}
    WRITES: ClassVar[type] = Cams
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=0.25)

    def __init__(self, config: RefineCamsConfig, context: StageContext) -> None:
        from wsss_jobs import networks  # needs torch, and planning does without

        self._scales = config.scales
        self._model = networks.load_transformer(context.artifacts["transformer"] / ARTIFACT_FILE)
        self._model.to(context.device)

    def _one(self, entry: ItemInput) -> Ok:
        cams: Cams = entry.records["cams"]
        check_finite(cams, entry.item)
        cam_Khw = self._refined(entry.image, cams.cam_Khw)
        high_res_KHW = None if cams.high_res_KHW is None else self._refined(entry.image, cams.high_res_KHW)
        return Ok(Cams(cams.class_ids, cam_Khw, high_res_KHW), {"mean_cam": float(cam_Khw.mean(dtype=np.float32))})

    def _refined(self, image_HW3: np.ndarray, cam_Kyx: np.ndarray) -> np.ndarray:
        import torch  # here and in `__init__` for the same reason

        from models.classifiers.patch_attention import refined_cams

        cam = torch.from_numpy(cam_Kyx.astype(np.float32))
        refined: np.ndarray = refined_cams(self._model, image_HW3, cam, self._scales).numpy().astype(np.float16)
        return refined
