"""Weakly supervised object localisation: one box an image and class, as a mask (Zhou et al., IEEE TIP 2022, section V).

A box is stored as the rectangle of its class: exports to COCO hold it as `bbox`, and the report draws it. Where boxes
of an image overlap, the smaller one is on top: of the other the exported box may then be smaller.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from models.classifiers.boxes import Box, largest_boxes
from models.classifiers.config import CAM_STRIDE
from models.images import min_max
from wsss_jobs.records import Cams, ClassPrediction, Mask
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageConfig, StageContext
from wsss_jobs.stages.cam_sizes import check_finite


class LocaliseBoxesConfig(StageConfig):
    """Settings.

    Attributes:
        threshold: The box is that of the largest part where the min-max normalised map reaches this. `wsss evaluate`
            searches all thresholds from 0.00 to 0.99 and names the best of each split.
        classes: `predicted`: of the class that the classifier takes the image for; `tags`: of every tag.
    """

    threshold: float = Field(default=0.2, ge=0, le=1)
    classes: Literal["predicted", "tags"] = "predicted"


class LocaliseBoxes(ItemStage):
    """`Cams` (and `ClassPrediction`) in, `Mask` out: filled rectangles."""

    NAME: ClassVar[str] = "localise_boxes"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = LocaliseBoxesConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams, "predictions": ClassPrediction}
    WRITES: ClassVar[type] = Mask
    NEEDS_IMAGE: ClassVar[bool] = False

    @classmethod
    def reads(cls, config: LocaliseBoxesConfig) -> Mapping[str, type]:
        """Returns the ports; tags need no predictions."""
        return {port: kind for port, kind in cls.READS.items() if port == "cams" or config.classes == "predicted"}

    def __init__(self, config: LocaliseBoxesConfig, context: StageContext) -> None:
        del context
        self._config = config

    def _one(self, entry: ItemInput) -> Ok:
        cams: Cams = entry.records["cams"]
        check_finite(cams, entry.item)
        size_hw = (entry.item.height_px, entry.item.width_px)
        wanted = set(entry.item.labels)
        if self._config.classes == "predicted":
            wanted = {entry.records["predictions"].top_class}
        boxes = {class_id: self._box(cams, class_id, size_hw) for class_id in cams.class_ids if class_id in wanted}
        label_HW = np.zeros(size_hw, dtype=np.uint8)
        found = {class_id: box for class_id, box in boxes.items() if box is not None}
        for class_id, box in sorted(found.items(), key=lambda pair: -pair[1].width * pair[1].height):
            label_HW[box.y : box.y + box.height, box.x : box.x + box.width] = class_id
        return Ok(Mask(label_HW, label_HW), {"num_boxes": len(found)})

    def _box(self, cams: Cams, class_id: int, size_hw: tuple[int, int]) -> Box | None:
        [box] = boxes_of_map(cams, class_id, [self._config.threshold], size_hw)
        return box


def boxes_of_map(cams: Cams, class_id: int, thresholds: list[float], size_hw: tuple[int, int]) -> list[Box | None]:
    """Returns a class's box for each threshold in px, from its min-max normalised stride-4 map.

    Edges lie on multiples of 4 px, or on the image's border.
    """
    map_1hw = cams.cam_Khw[[cams.class_ids.index(class_id)]].astype(np.float32)
    boxes = largest_boxes(min_max(map_1hw)[0], thresholds)
    return [None if box is None else box.in_pixels(CAM_STRIDE, size_hw) for box in boxes]
