"""Image-level tags: from `image,labels` CSV files and from VOC's XML annotations to class ids."""

import csv
import difflib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from wsss_jobs.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class TagRow:
    """What a tags file says of one image.

    Args:
        image: The name in the file.
        tags: Class names or class ids, as written.
        split: Name of its list, or None.
        line: Line number in the file; of other files than CSV, the number of the entry.
    """

    image: str
    tags: tuple[str, ...]
    split: str | None
    line: int


def parse_tags_csv(text: str, where: str) -> list[TagRow]:
    """The rows of a CSV file with the columns `image`, `labels` (joined by `|`) and, if wanted, `split`.

    Raises:
        ConfigError: A column is missing, a row has too many values, or the file has no rows.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
    for wanted in ("image", "labels"):
        if wanted not in columns:
            raise ConfigError(f"{where}, line 1: no column {wanted!r} among {columns}; begin with `image,labels`")
    reader.fieldnames = columns
    try:
        rows = [_row(fields, reader.line_num, where) for fields in reader]
    except csv.Error as error:
        raise ConfigError(f"{where}, line {reader.line_num}: {error}; check the quotes") from error
    if not rows:
        raise ConfigError(f"{where}: has no rows below the header; add one `image,labels` row an image")
    return rows


def _row(fields: dict[str, str], line: int, where: str) -> TagRow:
    if None in fields:
        raise ConfigError(f"{where}, line {line}: more values than columns; join labels with '|' or quote the name")
    image = (fields["image"] or "").strip().removeprefix("./")
    if not image:
        raise ConfigError(f"{where}, line {line}: no image name; fill it in or remove the line")
    tags = tuple(tag.strip() for tag in (fields["labels"] or "").split("|") if tag.strip())
    return TagRow(image, tags, (fields.get("split") or "").strip() or None, line)


def parse_voc_annotation(data: bytes, name: str) -> tuple[str, ...]:
    """The class names of all objects in a VOC XML file, difficult and truncated ones included, parts left out.

    Raises:
        DataError: `broken_annotation`.
    """
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(name, "broken_annotation", "its XML annotation has a document type or entities; remove them")
    try:
        root = ET.fromstring(data)  # noqa: S314 (entities, which the rule is about, are refused above)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DataError(name, "broken_annotation", f"its XML annotation cannot be read ({error}); repair it") from error
    names = (element.findtext("name", "").strip() for element in root.findall("object"))
    return tuple(dict.fromkeys(name for name in names if name))


def labels_of_tags(
    tags: Iterable[str], class_names: Sequence[str], name: str, where: str
) -> tuple[tuple[int, ...], DataError | None]:
    """The class ids of tags, ascending, and what is wrong with them, if anything is.

    A tag is a class name, or a class id as it stands in masks (1..C-1) where no class has that name.

    Args:
        tags: As written.
        class_names: Of the classes 1..C-1.
        name: Whose tags they are, for messages.
        where: The file and line that they stand in, for messages.
    """
    ids = {class_name: class_id for class_id, class_name in enumerate(class_names, start=1)}
    labels = set()
    for tag in tags:
        if tag in ids:
            labels.add(ids[tag])
        elif not tag.lstrip("+-").isdecimal():
            return (), _unknown_class(tag, class_names, name, where)
        elif 1 <= int(tag) <= len(class_names):
            labels.add(int(tag))
        else:
            rule = f"a class id must be in 1..{len(class_names)}, found {tag}"
            return (), DataError(name, "label_out_of_range", f"{rule} in {where}; correct it or extend the class list")
    if not labels:
        return (), DataError(name, "unlabelled", f"has no labels in {where}; add them or remove the image")
    return tuple(sorted(labels)), None


def _unknown_class(tag: str, class_names: Sequence[str], name: str, where: str) -> DataError:
    near = difflib.get_close_matches(tag, class_names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "correct it or extend the class list"
    return DataError(name, "unknown_class", f"{tag!r} in {where} is not in the class list; {hint}")
