"""Finding images and masks below a folder by the names that lists and tables use for them."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from wsss_jobs.storage.object_store import ObjectStore

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".ppm", ".pgm", ".jp2"}
)


class ImageFolder:
    """The image files below a folder, listed once.

    Args:
        store: The folder, local or on S3.
        prefix: A folder below it, with a slash at the end, or "".
    """

    def __init__(self, store: ObjectStore, prefix: str = "") -> None:
        self._store = store
        self._prefix = prefix
        names = (info.key.removeprefix(prefix) for info in store.list(prefix))
        self._names = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS]
        self._by_form: dict[str, list[str]] = {}
        for name in self._names:
            for form in (name, source_key_of(name)):
                self._by_form.setdefault(normal_form(form), []).append(name)

    def __iter__(self) -> Iterator[str]:
        """The files' names below the folder."""
        return iter(self._names)

    def find(self, name: str) -> list[str]:
        """The files that a name with or without extension can mean; usually one.

        An exact match comes first; else Unicode forms are put aside, as names from macOS are decomposed.
        """
        candidates = self._by_form.get(normal_form(name), [])
        for exact in (
            [c for c in candidates if c == name],
            [c for c in candidates if source_key_of(c) == source_text(name)],
        ):
            if exact:
                return exact
        return candidates

    def uri_of(self, name: str) -> str:
        """The address of a file; of one that does not exist, where it would be."""
        uri = f"{self._store.uri}/{self._prefix}{name}"
        try:
            uri.encode()
        except UnicodeEncodeError:  # a local file name that is not UTF-8: only an escaped address can be stored as text
            return Path(uri).as_uri()
        return uri


def source_key_of(name: str) -> str:
    """A file's path below its folder without the extension, as text that can be stored."""
    path = PurePosixPath(name)
    return source_text(name[: -len(path.suffix)] if path.suffix.lower() in IMAGE_EXTENSIONS else name)


def source_text(name: str) -> str:
    r"""The name, with bytes that are not UTF-8 written as `\udcXX`."""
    return name.encode("utf-8", "backslashreplace").decode()


def normal_form(name: str) -> str:
    """The composed form of a name: file systems and editors differ in how they write accented letters."""
    return unicodedata.normalize("NFC", name)
