"""Elements of the long arrays of a large JSON file, one by one: memory holds a piece of the file and an element."""

import contextlib
import json
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.uris import is_remote, local_path, open_store

_PIECE_CHARS = 1 << 20
_LOOK_AHEAD_CHARS = 3  # "1e-" decodes as 1 until the next digit is there
_SPACE = " \t\r\n"


def array_elements(uri: str, names: Collection[str], what: str) -> Iterator[tuple[str, Any]]:
    """The elements of the named arrays of the object in a JSON file, as (name, element) in the order of the file.

    Args:
        uri: A path or `s3://` address.
        names: Arrays of the outermost object; its other members are passed over.
        what: The kind of file, for messages.

    Raises:
        ConfigError: The file is missing, not UTF-8 or not JSON, or a named member is no array.
    """
    with _opened(uri, what) as file:
        scanner = _Scanner(file)
        try:
            for name in scanner.members():
                if scanner.peek() == "[":
                    for element in scanner.elements():
                        if name in names:
                            yield name, element
                elif name in names:
                    raise ConfigError(f"{what} {uri}: its member {name!r} is no array; is it the right file?")
                else:
                    scanner.value()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{what} {uri}: not UTF-8; save the file as UTF-8") from error
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{what} {uri}: not JSON ({error.msg}, at character {scanner.offset}); get it anew"
            ) from error


class _Scanner:
    """Reads tokens of a JSON text that is in memory in pieces."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._buffer = ""
        self._at = 0
        self._dropped = 0
        self._decoder = json.JSONDecoder()

    @property
    def offset(self) -> int:
        """How many characters have been read."""
        return self._dropped + self._at

    def members(self) -> Iterator[str]:
        """The keys of an object; the caller reads each one's value before the next."""
        self._take("{")
        if self.peek() == "}":
            return
        while True:
            if self.peek() != '"':
                raise self._error("a key is missing")
            name = self.value()
            self._take(":")
            yield name
            if self._take(",}") == "}":
                return

    def elements(self) -> Iterator[Any]:
        """The values of an array."""
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        while True:
            yield self.value()
            if self._take(",]") == "]":
                return

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError:
                if not self._read_more():
                    raise
                continue
            if len(self._buffer) - end < _LOOK_AHEAD_CHARS and self._read_more():
                continue  # a number may go on in the next piece
            self._at = end
            return value

    def peek(self) -> str:
        """The next character that is no space."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._read_more():
                raise self._error("it ends too early")

    def _take(self, allowed: str) -> str:
        found = self.peek()
        if found not in allowed:
            raise self._error(f"{found!r} where one of {' '.join(allowed)} is due")
        self._at += 1
        return found

    def _read_more(self) -> bool:
        # At least as much as is there: an element of many pieces is decoded again only a few times.
        piece = self._file.read(max(_PIECE_CHARS, len(self._buffer) - self._at))
        if not piece:
            return False
        self._dropped += self._at
        self._buffer, self._at = self._buffer[self._at :] + piece, 0
        return True

    def _error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, "", 0)


@contextlib.contextmanager
def _opened(uri: str, what: str) -> Iterator[TextIO]:
    with contextlib.ExitStack() as stack:
        try:
            path = local_path(uri) if not is_remote(uri) else _downloaded(uri, stack)
            file = stack.enter_context(path.open(encoding="utf-8-sig"))
        except (ObjectNotFoundError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ConfigError(f"{what} {uri}: no such file; check the path") from error
        except PermissionError as error:
            raise ConfigError(f"{what} {uri}: permission denied; check its owner and mode") from error
        yield file


def _downloaded(uri: str, stack: contextlib.ExitStack) -> Path:
    folder, _, name = uri.rpartition("/")
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsss-json-"))) / "file.json"
    open_store(folder).download(name, path)
    return path
