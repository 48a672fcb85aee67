"""COCO's instances JSON, with run lengths or with polygons.

One annotation a class and image: a semantic mask does not tell two cats from each other, and neither does this file. It
is whole (`iscrowd` 0) and covers all parts of the class. A category's id is its value in masks.

`coco_instances` has one annotation an object instead, of steps that read out instances.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.exports.base import IGNORE_INDEX, ExportContext, Exporter, LabelledItem
from wsss_jobs.exports.json_arrays import JsonArrays
from wsss_jobs.exports.pixel_contours import outlines
from wsss_jobs.storage.instance_rows import rows_of_png
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.mask_run_length import encode_rle

ANNOTATIONS_KEY = "annotations/instances.json"


@dataclass(frozen=True)
class CocoImage:
    """An image with its annotations, not numbered yet."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]]


class CocoExporter(Exporter[CocoImage]):
    """`annotations/instances.json`. An image without objects has no annotation.

    COCO has no ignored pixels: they belong to no annotation, and the image's entry carries their run lengths as
    `ignore`, which readers of COCO pass over.
    """

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        self._arrays = JsonArrays(context.scratch, ("images", "annotations"))
        self._num_images = 0
        self._num_annotations = 0

    @abstractmethod
    def segmentation(self, mask_HW: NDArray[np.bool_]) -> Any:
        """A mask as COCO's `segmentation`."""

    def convert(self, labelled: LabelledItem) -> CocoImage:
        """The image's entry and one annotation a class."""
        height_px, width_px = labelled.label_HW.shape
        image: dict[str, Any] = {"file_name": labelled.file_name, "width": width_px, "height": height_px}
        if labelled.has_ignore:
            image["ignore"] = encode_rle(labelled.label_HW == IGNORE_INDEX)
        return CocoImage(image, self.annotations(labelled))

    def annotations(self, labelled: LabelledItem) -> list[dict[str, Any]]:
        """One annotation a class."""
        return [self.annotation(labelled.label_HW == class_id, class_id) for class_id in labelled.class_ids]

    def add(self, converted: CocoImage) -> None:
        """Numbers the image and its annotations from 1."""
        self._num_images += 1
        self._arrays.add("images", {"id": self._num_images, **converted.image})
        for annotation in converted.annotations:
            self._num_annotations += 1
            numbers = {"id": self._num_annotations, "image_id": self._num_images}
            self._arrays.add("annotations", numbers | annotation)

    def finish(self) -> None:
        """Joins and stores the file."""
        names = enumerate(self.context.class_names, start=1)
        categories = [{"id": class_id, "name": name, "supercategory": ""} for class_id, name in names]
        path = self.context.scratch / "instances.json"
        self._arrays.join({"info": {"description": self.context.title}, "categories": categories}, path)
        self.context.target.upload(path, ANNOTATIONS_KEY)

    def annotation(self, mask_HW: NDArray[np.bool_], class_id: int) -> dict[str, Any]:
        """The annotation of a mask that has a pixel."""
        rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
        x, y = int(columns[0]), int(rows[0])
        return {
            "category_id": class_id,
            "iscrowd": 0,
            "area": int(mask_HW.sum()),
            "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
            "segmentation": self.segmentation(mask_HW),
        }


class CocoRleExporter(CocoExporter):
    """Compressed run lengths: exact."""

    SUMMARY: ClassVar[str] = "COCO instances JSON, compressed run lengths"

    def segmentation(self, mask_HW: NDArray[np.bool_]) -> dict[str, Any]:
        """`size` and `counts`."""
        return encode_rle(mask_HW)


class CocoPolygonExporter(CocoExporter):
    """Polygons along the edges of pixels: exact with pycocotools; other fills may differ by half a pixel."""

    SUMMARY: ClassVar[str] = "COCO instances JSON, polygons"

    def segmentation(self, mask_HW: NDArray[np.bool_]) -> list[list[int]]:
        """One polygon a part, as x, y, x, y, ...; holes are joined to their part by cuts of no width."""
        return [[coordinate for point in polygon for coordinate in point] for polygon in outlines(mask_HW)]


class CocoInstancesExporter(CocoRleExporter):
    """One annotation an object, with its `score` in 0..1; `coco_rle`'s otherwise, ignored pixels too."""

    SUMMARY: ClassVar[str] = "COCO instances JSON, one annotation an object, with its score"
    NEEDS_INSTANCES: ClassVar[bool] = True

    def annotations(self, labelled: LabelledItem) -> list[dict[str, Any]]:
        """One annotation an object, best first, as the mask numbers them."""
        assert labelled.instances_png is not None
        id_HW = decode_mask(labelled.instances_png, labelled.item.source_key)
        return [
            self.annotation(id_HW == row.instance_id, row.class_id) | {"score": row.score}
            for row in rows_of_png(labelled.instances_png)
        ]
