"""Arrays out of an MXNet `.params` file, without MXNet.

The format (`mx.nd.save`, little endian): magic 0x112 and a reserved word (uint64 each), the number of arrays (uint64),
the arrays, the number of names (uint64), and each name as its length (uint64) and bytes. An array is a magic (uint32)
that tells its version, the shape, device type and id (int32 each, meaningless here), element type (int32), and the raw
elements. Of the versions, three are read: 2 (with a storage type, dense only), 1, and the first one, which has no magic
but the number of dimensions in its place and writes them as uint32 instead of int64.
"""

import struct
from math import prod
from pathlib import Path
from types import MappingProxyType

import numpy as np

from models.errors import InvalidInputError

_LIST_MAGIC = 0x112
_VERSION_1 = 0xF993FAC8
_VERSION_2 = 0xF993FAC9
_VERSION_3 = 0xF993FACA
_MOST_DIMENSIONS = 8
_TYPES = MappingProxyType(dict(enumerate([np.float32, np.float64, np.float16, np.uint8, np.int32, np.int8, np.int64])))


def read_mxnet_params(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of the file by name, as in the file (`arg:conv1a_weight`, `aux:bn7_moving_mean`, ...).

    Raises:
        InvalidInputError: No such file, not this format, or an array of a kind that is not read.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidInputError(f"weights {str(path)!r}: no such file")
    reader = _Reader(file.read_bytes(), str(path))
    if reader.number("Q") != _LIST_MAGIC:
        raise reader.error("it does not begin like an MXNet parameter file")
    reader.number("Q")
    arrays = [_read_array(reader) for _ in range(reader.count())]
    names = [reader.take(reader.count()).decode() for _ in range(reader.count())]
    if len(names) != len(arrays):
        raise reader.error(f"{len(arrays)} arrays and {len(names)} names")
    return dict(zip(names, arrays, strict=True))


class _Reader:
    """A position in a file's bytes; every read moves it, and none passes the end."""

    def __init__(self, data: bytes, source: str) -> None:
        self._data = memoryview(data)
        self._position = 0
        self._source = source

    def take(self, num_bytes: int) -> bytes:
        start, self._position = self._position, self._position + num_bytes
        if self._position > len(self._data):
            raise self.error(f"it ends {self._position - len(self._data)} bytes too early")
        return bytes(self._data[start : self._position])

    def number(self, kind: str) -> int:
        [value] = struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))
        return int(value)

    def count(self) -> int:
        """Returns a uint64 that counts things of at least one byte each."""
        value = self.number("Q")
        if value > len(self._data):
            raise self.error(f"it announces {value} entries, more than it has bytes")
        return value

    def error(self, what: str) -> InvalidInputError:
        return InvalidInputError(f"weights {self._source!r}: {what}")


def _read_array(reader: _Reader) -> np.ndarray:
    shape = _read_shape(reader)
    if not shape:
        return np.zeros(0, dtype=np.float32)  # an empty array ends behind its shape
    reader.number("i")
    reader.number("i")
    flag = reader.number("i")
    if flag not in _TYPES:
        raise reader.error(f"an array has the unknown element type {flag}; known are 0 to {max(_TYPES)}")
    dtype = np.dtype(_TYPES[flag]).newbyteorder("<")
    return np.frombuffer(reader.take(prod(shape) * dtype.itemsize), dtype=dtype).reshape(shape)


def _read_shape(reader: _Reader) -> tuple[int, ...]:
    first = reader.number("I")
    if first == _VERSION_3:
        raise reader.error("an array is of version 3 (NumPy shapes), which is not read; save it with MXNet 1.x")
    if first == _VERSION_2 and (storage := reader.number("i")) != 0:
        raise reader.error(f"an array has storage type {storage}; only dense ones (0) are read")
    is_first_version = first not in {_VERSION_1, _VERSION_2}
    num_dimensions = first if is_first_version else reader.number("I")
    if num_dimensions > _MOST_DIMENSIONS:
        raise reader.error(f"an array announces {num_dimensions} dimensions")
    return tuple(reader.number("I" if is_first_version else "q") for _ in range(num_dimensions))
