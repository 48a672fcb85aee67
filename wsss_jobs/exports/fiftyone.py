"""A folder that FiftyOne loads as `fiftyone.types.ImageSegmentationDirectory`.

Format: https://docs.voxel51.com/user_guide/import_datasets.html#imagesegmentationdirectory.
"""

import io
import json
from typing import ClassVar

from PIL import Image

from wsss_jobs.exports.base import IGNORE_INDEX, Exporter, LabelledItem


class FiftyOneExporter(Exporter[None]):
    """`data/<image>`, `labels/<name>.png` and `mask_targets.json`. 255 stays 255, with the target `ignore`.

    The masks are grey PNGs: of palette PNGs FiftyOne sees the colours.
    """

    SUMMARY: ClassVar[str] = "FiftyOne ImageSegmentationDirectory, images included"

    def convert(self, labelled: LabelledItem) -> None:
        """Copies the image and writes its mask."""
        buffer = io.BytesIO()
        Image.fromarray(labelled.label_HW).save(buffer, format="PNG")
        self.context.target.put(f"data/{labelled.name}{labelled.image_extension}", labelled.read_image())
        self.context.target.put(f"labels/{labelled.name}.png", buffer.getvalue())

    def add(self, converted: None) -> None:
        """Nothing: all is written."""

    def finish(self) -> None:
        """Writes what the values mean, for `dataset.default_mask_targets`."""
        ids = [*range(len(self.context.class_names) + 1), IGNORE_INDEX]
        targets = {str(class_id): self.context.name_of(class_id) for class_id in ids}
        self.context.target.put("mask_targets.json", json.dumps(targets, ensure_ascii=False, indent=1).encode())
