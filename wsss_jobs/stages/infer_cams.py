"""Class activation maps of the tagged classes, over scales and mirrors (Ahn et al.: IRN, CVPR 2019; PSA, CVPR 2018)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from models.classifiers.config import DEFAULT_SCALES, CamResampling
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError, DataError
from wsss_jobs.records import ARTIFACT_FILE, Cams, ClassifierCheckpoint
from wsss_jobs.stages.base import (
    ItemInput,
    ItemStage,
    Ok,
    StageConfig,
    StageContext,
    StageResources,
)
from wsss_jobs.training.kept_epochs import epoch_file

CLASSIFIER_PORT = "classifier"


class InferCamsConfig(StageConfig):
    """Settings; the defaults are IRN's.

    Attributes:
        scales: Image scales; each is seen plain and mirrored.
        keep_high_res: Store full-resolution CAMs too. They are what affinity labels are made of in the released code;
            without them, the stride-4 CAMs are up-sampled there (a tenth of the bytes).
        resampling: How the maps come to the image's size; see `multi_scale_cam`.
        epoch: Take the weights behind this epoch, one of `keep_epochs` of the training. None: behind the last one.
    """

    scales: tuple[float, ...] = Field(default=DEFAULT_SCALES, min_length=1)
    keep_high_res: bool = True
    resampling: CamResampling = "irn"
    # Left out where it is None: CAMs of before there was such a setting keep their fingerprints.
    epoch: int | None = Field(default=None, ge=1, exclude_if=lambda epoch: epoch is None)


class InferCams(ItemStage):
    """`ClassifierCheckpoint` and images in, `Cams` out."""

    NAME: ClassVar[str] = "infer_cams"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = InferCamsConfig
    READS: ClassVar[Mapping[str, type]] = {CLASSIFIER_PORT: ClassifierCheckpoint}
    WRITES: ClassVar[type] = Cams
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=0.25)

    @staticmethod
    def artifact_file(config: InferCamsConfig, port: str) -> str:
        """Returns the file with the weights behind the epoch that is asked for."""
        del port
        return ARTIFACT_FILE if config.epoch is None else epoch_file(config.epoch)

    @staticmethod
    def check_inputs(name: str, config: InferCamsConfig, feeders: Mapping[str, StageConfig]) -> None:
        """Rejects an epoch whose weights its training does not store."""
        kept: Any = getattr(feeders[CLASSIFIER_PORT], "keep_epochs", None)
        if config.epoch is None or config.epoch in (kept or ()):
            return
        place = f"stages.{name}.epoch: its training stores no weights behind epoch {config.epoch}"
        if kept is None:
            raise ConfigError(f"{place}, only those behind the last one; `train_acr` alone has `keep_epochs`")
        raise ConfigError(f"{place}; its keep_epochs are {list(kept)}. For the last epoch leave `epoch` out")

    def __init__(self, config: InferCamsConfig, context: StageContext) -> None:
        from wsss_jobs import networks  # needs torch, and planning does without

        self._config = config
        path = context.artifacts[CLASSIFIER_PORT] / self.artifact_file(config, CLASSIFIER_PORT)
        self._model = networks.load_classifier(path)
        self._model.to(context.device)

    def _one(self, entry: ItemInput) -> Ok:
        from models.classifiers.multi_scale_cam import multi_scale_cam

        check_tagged(entry.item)
        result = multi_scale_cam(
            self._model, entry.image, entry.item.labels, self._config.scales, self._config.resampling
        )
        cam_Khw = result.cam_Khw.numpy()
        high_res_KHW = result.high_res_KHW.numpy().astype(np.float16) if self._config.keep_high_res else None
        record = Cams(entry.item.labels, cam_Khw.astype(np.float16), high_res_KHW)
        return Ok(record, {"mean_cam": float(cam_Khw.mean()), "flip_agreement": result.flip_agreement})


def check_tagged(item: DatasetItem) -> None:
    """Raises `DataError` for an item without tags."""
    if not item.labels:
        message = "has no tags, and CAMs are of tags; leave images without objects out of the data set"
        raise DataError(item.source_key, "unlabelled", message)
