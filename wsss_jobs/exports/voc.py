"""PASCAL VOC's layout: palette PNGs, a list of them, and the class list."""

from typing import ClassVar

from wsss_jobs.errors import DataError
from wsss_jobs.exports.base import ExportContext, Exporter, LabelledItem


class VocExporter(Exporter[str]):
    """`SegmentationClass/<name>.png`, `ImageSets/Segmentation/all.txt`, `classes.txt`. 255 stays 255."""

    SUMMARY: ClassVar[str] = "VOC palette PNGs with a list and class names"

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        self._list = (context.scratch / "all.txt").open("w", encoding="utf-8")

    def convert(self, labelled: LabelledItem) -> str:
        """The name, when its PNG is written."""
        name = listable_name(labelled)
        self.context.target.put(f"SegmentationClass/{name}.png", labelled.png)
        return name

    def add(self, converted: str) -> None:
        """Lists the name."""
        self._list.write(f"{converted}\n")

    def finish(self) -> None:
        """Writes the lists."""
        self._list.close()
        target = self.context.target
        target.put("classes.txt", "".join(f"{name}\n" for name in ("background", *self.context.class_names)).encode())
        target.upload(self.context.scratch / "all.txt", "ImageSets/Segmentation/all.txt")


def listable_name(labelled: LabelledItem) -> str:
    """The image's name, if a list of names, one a line, can hold it.

    Raises:
        DataError: Readers of lists would take it for a comment, or strip it.
    """
    name = labelled.name
    if name.startswith("#") or name != name.strip():
        rule = "a name in a list must not begin with '#' or have spaces at its ends"
        raise DataError(labelled.item.source_key, "name_not_listable", f"{rule}; rename the image")
    return name
