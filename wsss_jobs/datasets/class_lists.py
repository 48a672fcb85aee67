"""The names of the classes 1..C-1, from a list, a file or a well-known set."""

from collections.abc import Sequence

from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.uris import read_uri

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
MAX_CLASSES = 254  # a mask is 8 bits: 0 is background, 255 is ignore


def resolve_class_names(classes: str | Sequence[str]) -> tuple[str, ...]:
    """The class names, background left out.

    Args:
        classes: "voc"; the names themselves; or the address of a text file with one name a line.

    Raises:
        ConfigError: There are none or too many, one is repeated or empty, or the file is missing.
    """
    if classes == "voc":
        return VOC_CLASSES
    if isinstance(classes, str):
        return check_class_names(read_lines(classes, "class list"), f"class list {classes}")
    return check_class_names(classes, "classes")


def check_class_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The names, without a leading "background".

    Raises:
        ConfigError: See `resolve_class_names`.
    """
    kept = tuple(names[1:] if names and names[0] == "background" else names)
    if not 1 <= len(kept) <= MAX_CLASSES:
        raise ConfigError(f"{where}: has {len(kept)} names; give 1 to {MAX_CLASSES}, background not counted")
    for number, name in enumerate(kept, start=1):
        if not name.strip() or "|" in name or name != name.strip():
            raise ConfigError(f"{where}: name {number} is {name!r}; names must not be empty, padded or contain '|'")
        if name == "background" or name in kept[: number - 1]:
            raise ConfigError(
                f"{where}: {name!r} stands at place {number} again; each class once, background not at all"
            )
    return kept


def read_lines(uri: str, what: str) -> list[str]:
    """The non-blank lines of a UTF-8 text file, stripped.

    Raises:
        ConfigError: The file is missing or not UTF-8.
    """
    return [line.strip() for line in read_text(uri, what).splitlines() if line.strip()]


def read_text(uri: str, what: str) -> str:
    """The content of a UTF-8 text file; a byte-order mark is dropped.

    Raises:
        ConfigError: The file is missing or not UTF-8.
    """
    try:
        return read_uri(uri).decode("utf-8-sig")
    except ObjectNotFoundError as error:
        raise ConfigError(f"{what} {uri}: no such file; check the path") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{what} {uri}, line {line}: not UTF-8; save the file as UTF-8") from error
