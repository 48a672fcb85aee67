"""What CVAT exports as "CVAT for images 1.1": an XML file with an `image` element a picture.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/.
"""

import io
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from wsss_jobs.datasets.config import CvatConfig
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.tagged_folder import OneFolderReader, sources_of_rows
from wsss_jobs.datasets.tags import TagRow
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.uris import read_uri


class CvatReader(OneFolderReader[CvatConfig]):
    """Reads what a `CvatConfig` names."""

    def sources(self, class_names: tuple[str, ...]) -> list[SourceImage]:
        """The images of the file."""
        config = self._config
        rows = list(_rows(config.annotations))
        if not rows:
            raise ConfigError(f"CVAT export {config.annotations}: names no image; export as 'CVAT for images 1.1'")
        (folder,) = self.folders()
        return sources_of_rows(rows, class_names, folder, config.split, config.masks, config.annotations, "image")


def _rows(uri: str) -> Iterator[TagRow]:
    """One row an image, element by element; the row's number is the image's place in the file."""
    try:
        data = read_uri(uri)
    except ObjectNotFoundError as error:
        raise ConfigError(f"CVAT export {uri}: no such file; check the path") from error
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ConfigError(f"CVAT export {uri}: has a document type or entities; export it anew")
    num_images = 0
    try:
        # Entities, which the rule is about, are refused above.
        for _, element in ET.iterparse(io.BytesIO(data)):  # noqa: S314
            if element.tag == "image":
                num_images += 1
                yield _row(element, num_images, uri)
                element.clear()
    except (ET.ParseError, ValueError, LookupError) as error:
        raise ConfigError(f"CVAT export {uri}: not XML ({error}); export as 'CVAT for images 1.1'") from error


def _row(element: ET.Element, number: int, uri: str) -> TagRow:
    name = element.get("name")
    if not name:
        raise ConfigError(f"CVAT export {uri}, image {number}: has no name; export as 'CVAT for images 1.1'")
    tags = dict.fromkeys(child.get("label", "").strip() for child in element)
    return TagRow(name, tuple(tag for tag in tags if tag), element.get("subset"), number)
