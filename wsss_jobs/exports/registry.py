"""All formats by name."""

from typing import Any

from wsss_jobs.exports.base import Exporter
from wsss_jobs.exports.coco import CocoInstancesExporter, CocoPolygonExporter, CocoRleExporter
from wsss_jobs.exports.cvat import CvatExporter
from wsss_jobs.exports.fiftyone import FiftyOneExporter
from wsss_jobs.exports.huggingface import HuggingFaceExporter
from wsss_jobs.exports.label_studio import LabelStudioExporter
from wsss_jobs.exports.voc import VocExporter
from wsss_jobs.exports.voc_submission import VocComp5Exporter, VocComp6Exporter

FORMATS: dict[str, type[Exporter[Any]]] = {
    "voc": VocExporter,
    "voc_comp5": VocComp5Exporter,
    "voc_comp6": VocComp6Exporter,
    "coco_rle": CocoRleExporter,
    "coco_polygons": CocoPolygonExporter,
    "coco_instances": CocoInstancesExporter,
    "label_studio": LabelStudioExporter,
    "cvat": CvatExporter,
    "fiftyone": FiftyOneExporter,
    "huggingface": HuggingFaceExporter,
}
