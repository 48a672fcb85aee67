"""Label Studio tasks with the masks as brush predictions, ready for review, and the labelling configuration.

Format: https://labelstud.io/guide/predictions (brush segmentation with RLE).
"""

import json
from typing import Any, ClassVar
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from wsss_jobs.exports.base import IGNORE_INDEX, ExportContext, Exporter, LabelledItem, check_ignore_name
from wsss_jobs.exports.brush_rle import encode_brush
from wsss_jobs.storage.mask_png import voc_palette
from wsss_jobs.storage.uris import is_remote

TASKS_A_FILE = 500  # Label Studio reads a file of tasks whole, and its uploads are bounded
LOCAL_FILES = "/data/local-files/?d="
_CONTROL, _OBJECT = "tag", "image"


class LabelStudioExporter(Exporter[dict[str, Any]]):
    """`tasks-00000.json`, ... and `label_config.xml`. Pixels of 255 are a brush of the label `ignore`."""

    SUMMARY: ClassVar[str] = "Label Studio tasks with brush predictions"
    TAKES_IMAGE_PREFIX: ClassVar[bool] = True

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        check_ignore_name(context.class_names, "Label Studio export")
        self._tasks: list[dict[str, Any]] = []
        self._num_files = 0

    def convert(self, labelled: LabelledItem) -> dict[str, Any]:
        """The task of an image; one without objects has an empty prediction."""
        class_ids = labelled.class_ids + [IGNORE_INDEX] * labelled.has_ignore
        prediction: dict[str, Any] = {
            "model_version": self.context.title,
            "result": [self._region(labelled, class_id) for class_id in class_ids],
        }
        data = {_OBJECT: self._address(labelled), "source_key": labelled.item.source_key}
        if labelled.quality is not None:
            prediction["score"] = labelled.quality.score  # by which Label Studio sorts tasks
            data["review_reason"] = labelled.quality.reason
        return {"data": data, "predictions": [prediction]}

    def add(self, converted: dict[str, Any]) -> None:
        """Keeps tasks until a file of them is full."""
        self._tasks.append(converted)
        if len(self._tasks) == TASKS_A_FILE:
            self._write_tasks()

    def finish(self) -> None:
        """Writes the last tasks and the labelling configuration."""
        if self._tasks or self._num_files == 0:
            self._write_tasks()
        self.context.target.put("label_config.xml", self._label_config().encode())

    def _write_tasks(self) -> None:
        data = json.dumps(self._tasks, ensure_ascii=False, separators=(",", ":")).encode()
        self.context.target.put(f"tasks-{self._num_files:05d}.json", data)
        self._num_files += 1
        self._tasks = []

    def _region(self, labelled: LabelledItem, class_id: int) -> dict[str, Any]:
        mask_HW = labelled.label_HW == class_id
        height_px, width_px = mask_HW.shape
        return {
            "id": f"{labelled.item.item_id}-{class_id}",
            "from_name": _CONTROL,
            "to_name": _OBJECT,
            "type": "brushlabels",
            "original_width": width_px,
            "original_height": height_px,
            "image_rotation": 0,
            "value": {"format": "rle", "rle": encode_brush(mask_HW), "brushlabels": [self.context.name_of(class_id)]},
        }

    def _address(self, labelled: LabelledItem) -> str:
        prefix = self.context.image_prefix
        if prefix is not None:
            return prefix + quote(labelled.file_name)
        if is_remote(labelled.item.uri):
            return labelled.item.uri
        return LOCAL_FILES + quote(labelled.file_name)

    def _label_config(self) -> str:
        ids = [*range(1, len(self.context.class_names) + 1), IGNORE_INDEX]
        labels = "".join(
            f'    <Label value={quoteattr(self.context.name_of(class_id))} background="{_colour(class_id)}"/>\n'
            for class_id in ids
        )
        head = f'  <Image name="{_OBJECT}" value="${_OBJECT}" zoom="true"/>\n'
        return (
            f'<View>\n{head}  <BrushLabels name="{_CONTROL}" toName="{_OBJECT}">\n{labels}  </BrushLabels>\n</View>\n'
        )


def _colour(class_id: int) -> str:
    return "#" + bytes(voc_palette()[class_id]).hex()
