"""What a trained classifier takes images for; WSOL reads its Top-1 Cls and forms its groups from it."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from wsss_jobs.records import ARTIFACT_FILE, ClassifierCheckpoint, ClassPrediction
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageConfig, StageContext, StageResources


class PredictClassesConfig(StageConfig):
    """Settings.

    Attributes:
        long_side_px: The image's longer side is resized to this.
        num_classes: So many classes are kept, the likeliest ones.
    """

    long_side_px: int = Field(default=448, ge=32)
    num_classes: int = Field(default=5, ge=1)


class PredictClasses(ItemStage):
    """`ClassifierCheckpoint` and images in, `ClassPrediction` out: the softmax over the mean of image and mirror."""

    NAME: ClassVar[str] = "predict_classes"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = PredictClassesConfig
    READS: ClassVar[Mapping[str, type]] = {"classifier": ClassifierCheckpoint}
    WRITES: ClassVar[type] = ClassPrediction
    RESOURCES: ClassVar[StageResources] = StageResources(num_gpus=0.25)

    def __init__(self, config: PredictClassesConfig, context: StageContext) -> None:
        from wsss_jobs import networks  # needs torch, and planning does without

        self._config = config
        self._model = networks.load_cam_classifier(context.artifacts["classifier"] / ARTIFACT_FILE)
        self._model.to(context.device)

    def _one(self, entry: ItemInput) -> Ok:
        from models.classifiers.class_probabilities import class_probabilities

        probability_F = class_probabilities(self._model, entry.image, self._config.long_side_px)
        top = probability_F.topk(min(self._config.num_classes, len(probability_F)))
        probabilities = top.values.numpy().astype(np.float32)
        record = ClassPrediction(tuple(int(index) + 1 for index in top.indices), probabilities)
        return Ok(record, {"confidence": float(probabilities[0])})
