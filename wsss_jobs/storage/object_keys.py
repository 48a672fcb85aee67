"""From the names that users give their images to keys that every store can hold."""

import hashlib
import re

# ASCII that means something to file systems, shells or S3 tools; `%` and `~` mark what is escaped and what is cut.
_ESCAPED_ASCII = frozenset('%~\\:*?"<>|^`{}')
_EMPTY_SEGMENT = "%empty"  # lower-case after `%`: no escape of a byte looks like it
_MAX_SEGMENT_BYTES = 180  # file systems allow 255; the rest is for extensions
_MAX_KEY_BYTES = 600  # S3 allows 1,024; the rest is for the store's prefix
_HEAD_BYTES = 90
_ORDINARY = re.compile(r"[A-Za-z0-9_-]{1,100}(/[A-Za-z0-9_-]{1,100}){0,4}")  # nothing below would change such a name
# A folder called `a.png` beside the mask of image `a` would be a folder and a file of one name.
_OUR_EXTENSIONS = (".png", ".json", ".parquet")


def object_key(source_key: str) -> str:
    """A key for an image's own name: different for different names, and the name itself where that is ordinary.

    Letters of any script, digits, spaces and `/ - _ . , + # = @ & ! ' ( ) [ ] $ ;` stay. Other characters become the
    `%XX` of their UTF-8 bytes, so do a leading dot and what would leave the folder (`..`, a leading `/`). Very long
    names keep their beginning and end in a hash. No extension is added.

    Keys differ by code point: on a file system that ignores case or Unicode normal forms (macOS, Windows), names that
    differ in nothing else meet in one file.
    """
    if _ORDINARY.fullmatch(source_key):
        return source_key
    *folders, name = source_key.split("/")
    segments = [_escape_folder(folder) for folder in folders] + [_escape_segment(name)]
    key = "/".join(_shorten(segment) for segment in segments)
    if len(key.encode()) <= _MAX_KEY_BYTES:
        return key
    return f"~{_digest('/'.join(segments[:-1]))}/{_shorten(segments[-1])}"


def _escape_folder(folder: str) -> str:
    escaped = _escape_segment(folder)
    if escaped.lower().endswith(_OUR_EXTENSIONS):
        stem, _, extension = escaped.rpartition(".")
        return f"{stem}%2E{extension}"
    return escaped


def _escape_segment(segment: str) -> str:
    if segment == "":
        return _EMPTY_SEGMENT
    escaped = "".join(char if _is_plain(char) else _percent(char) for char in segment)
    if segment in {".", ".."}:
        return escaped.replace(".", "%2E")
    return "%2E" + escaped[1:] if escaped.startswith(".") else escaped


def _is_plain(char: str) -> bool:
    code = ord(char)
    if code < 0x7F:
        return code >= 0x20 and char not in _ESCAPED_ASCII
    is_control = code < 0xA0
    is_surrogate = 0xD800 <= code < 0xE000  # stands for a byte of a file name that is not UTF-8
    is_noncharacter = code & 0xFFFE == 0xFFFE  # not allowed in the XML of an S3 listing
    return not (is_control or is_surrogate or is_noncharacter)


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _shorten(segment: str) -> str:
    data = segment.encode()
    if len(data) <= _MAX_SEGMENT_BYTES:
        return segment
    head = data[:_HEAD_BYTES].decode("utf-8", "ignore")
    return f"{head}~{_digest(segment)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
