"""CAMs as class scores against a constant background, streamed straight on: nothing of them is stored.

What `infer_cams` and `read_cams` do together, for whoever wants masks of CAMs and no CAMs: ISIM regenerates its pseudo
labels several times (Bircanoglu and Arica, 2022, section 4.1), and the accelerator need not wait for the dense CRF.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from models.classifiers.config import DEFAULT_SCALES, CamResampling
from wsss_jobs.records import ARTIFACT_FILE, ClassifierCheckpoint, ClassScores
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageConfig, StageContext, StageResources
from wsss_jobs.stages.infer_cams import check_tagged


class InferCamScoresConfig(StageConfig):
    """Settings; the defaults are ISIM's.

    Attributes:
        scales: Image scales; each is seen plain and mirrored.
        resampling: How the maps come to the image's size; see `multi_scale_cam`. ISIM resizes in one step, as PSA.
        background_threshold: Constant score of the background.
    """

    scales: tuple[float, ...] = Field(default=DEFAULT_SCALES, min_length=1)
    resampling: CamResampling = "psa"
    background_threshold: float = Field(default=0.3, ge=0, le=1)


class InferCamScores(ItemStage):
    """`ClassifierCheckpoint` and images in, `ClassScores` at full resolution out."""

    NAME: ClassVar[str] = "infer_cam_scores"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = InferCamScoresConfig
    READS: ClassVar[Mapping[str, type]] = {"classifier": ClassifierCheckpoint}
    WRITES: ClassVar[type] = ClassScores
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=0.25)

    def __init__(self, config: InferCamScoresConfig, context: StageContext) -> None:
        from wsss_jobs import networks  # needs torch, and planning does without

        self._config = config
        self._model = networks.load_classifier(context.artifacts["classifier"] / ARTIFACT_FILE)
        self._model.to(context.device)

    def _one(self, entry: ItemInput) -> Ok:
        from models.classifiers.multi_scale_cam import multi_scale_cam

        check_tagged(entry.item)
        config, labels = self._config, entry.item.labels
        cams = multi_scale_cam(self._model, entry.image, labels, config.scales, config.resampling)
        cam_KHW = cams.high_res_KHW.numpy()
        background_1HW = np.full((1, *cam_KHW.shape[1:]), config.background_threshold, dtype=np.float32)
        scores_CHW = np.concatenate([background_1HW, cam_KHW])
        record = ClassScores((0, *labels), scores_CHW, "activation", corner_aligned=False)
        return Ok(record, {"mean_cam": float(cam_KHW.mean())})
