"""The archive that the PASCAL VOC evaluation server takes: `results/VOC2012/Segmentation/comp{5,6}_test_cls/<id>.png`.

From the VOC 2012 development kit, sections "Segmentation" and "Submission of results": palette PNGs with values 0..20,
one an image of the test list. `comp5` is for methods that learned from VOC's own training data alone, `comp6` for any
other training data (SBD masks or ImageNet weights make it comp6).
"""

from typing import ClassVar

from wsss_jobs.datasets.class_lists import VOC_CLASSES
from wsss_jobs.errors import ConfigError
from wsss_jobs.exports.base import ExportContext, Exporter, LabelledItem
from wsss_jobs.exports.tar_archive import TarArchive

ARCHIVE_KEY = "results.tgz"


class VocSubmissionExporter(Exporter[tuple[str, bytes]]):
    """`results.tgz`. The server has no value for ignored pixels, so a mask with 255 is refused."""

    COMPETITION: ClassVar[str]

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        if context.class_names != VOC_CLASSES:
            raise ConfigError("a VOC submission needs VOC's 20 classes in their order; this data set has others")
        self._archive = TarArchive(context.scratch / ARCHIVE_KEY)

    def convert(self, labelled: LabelledItem) -> tuple[str, bytes]:
        """Name in the archive and PNG."""
        if labelled.has_ignore:
            rule = "has pixels of 255, which the server does not take; export a step that labels every pixel"
            raise ConfigError(f"{labelled.item.source_key}: {rule}")
        return f"results/VOC2012/Segmentation/{self.COMPETITION}_test_cls/{labelled.name}.png", labelled.png

    def add(self, converted: tuple[str, bytes]) -> None:
        """Packs the PNG."""
        self._archive.add(*converted)

    def finish(self) -> None:
        """Stores the archive."""
        self._archive.close()
        self.context.target.upload(self._archive.path, ARCHIVE_KEY)


class VocComp5Exporter(VocSubmissionExporter):
    """A submission to comp5."""

    SUMMARY: ClassVar[str] = "archive for the VOC server, competition comp5 (VOC's training data alone)"
    COMPETITION: ClassVar[str] = "comp5"


class VocComp6Exporter(VocSubmissionExporter):
    """A submission to comp6."""

    SUMMARY: ClassVar[str] = "archive for the VOC server, competition comp6 (any training data)"
    COMPETITION: ClassVar[str] = "comp6"
