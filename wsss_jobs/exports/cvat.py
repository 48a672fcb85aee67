"""CVAT's "Segmentation mask 1.1": a VOC-like archive with a label map.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-smask/. CVAT finds a frame by its name without
extension.
"""

import zipfile
from typing import ClassVar

from wsss_jobs.errors import ConfigError
from wsss_jobs.exports.base import IGNORE_INDEX, ExportContext, Exporter, LabelledItem, check_ignore_name
from wsss_jobs.exports.voc import listable_name
from wsss_jobs.storage.mask_png import voc_palette

ARCHIVE_KEY = "cvat_masks.zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's zero: the same masks give the same bytes


class CvatExporter(Exporter[tuple[str, bytes, bool]]):
    """`cvat_masks.zip`, to be uploaded as annotations of a task with the same images.

    The task needs the labels of the class list; where masks have pixels of 255, these are of the label `ignore`, which
    it then needs too. Each class of an image is one object.
    """

    SUMMARY: ClassVar[str] = "CVAT archive, Segmentation mask 1.1"

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        check_ignore_name(context.class_names, "CVAT export")
        for name in context.class_names:
            if ":" in name or name.startswith("#"):
                raise ConfigError(f"CVAT export: class {name!r} does not fit into a label map (':', '#'); rename it")
        self._path = context.scratch / ARCHIVE_KEY
        self._zip = zipfile.ZipFile(self._path, "w")
        self._list = (context.scratch / "default.txt").open("w+", encoding="utf-8")
        self._has_ignore = False

    def convert(self, labelled: LabelledItem) -> tuple[str, bytes, bool]:
        """Name, PNG, and whether it has pixels of 255."""
        return listable_name(labelled), labelled.png, labelled.has_ignore

    def add(self, converted: tuple[str, bytes, bool]) -> None:
        """Packs the PNG."""
        name, png, has_ignore = converted
        # As objects too, with the same values: where there are none, CVAT takes the background for an object.
        for folder in ("SegmentationClass", "SegmentationObject"):
            self._write(f"{folder}/{name}.png", png)
        self._list.write(f"{name}\n")
        self._has_ignore |= has_ignore

    def finish(self) -> None:
        """Packs list and label map and stores the archive."""
        self._list.close()
        listed = zipfile.ZipInfo("ImageSets/Segmentation/default.txt", _EPOCH)
        with self._zip.open(listed, "w") as member, (self.context.scratch / "default.txt").open("rb") as lines:
            member.writelines(lines)
        self._write("labelmap.txt", self._label_map().encode())
        self._zip.close()
        self.context.target.upload(self._path, ARCHIVE_KEY)

    def _write(self, name: str, data: bytes) -> None:
        self._zip.writestr(zipfile.ZipInfo(name, _EPOCH), data)  # stored as they are: PNGs are compressed already

    def _label_map(self) -> str:
        ids = [*range(len(self.context.class_names) + 1), *[IGNORE_INDEX] * self._has_ignore]
        colours = (",".join(str(level) for level in voc_palette()[class_id]) for class_id in ids)
        rows = [f"{self.context.name_of(class_id)}:{colour}::" for class_id, colour in zip(ids, colours, strict=True)]
        return "\n".join(["# label:color_rgb:parts:actions", *rows, ""])
