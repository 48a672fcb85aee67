"""Layers' blobs out of a Caffe `.caffemodel` file, without Caffe.

The file is one protobuf message, `NetParameter` of caffe.proto. Of it, four messages matter here; the numbers are those
of their fields: NetParameter {layers: 2 (V1LayerParameter), layer: 100 (LayerParameter)}, V1LayerParameter {name: 4,
blobs: 6}, LayerParameter {name: 1, blobs: 7}, BlobProto {num, channels, height, width: 1 to 4, data: 5, shape: 7,
double_data: 8}, BlobShape {dim: 1}. Everything else is skipped.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from models.errors import InvalidInputError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LAYER_FIELDS = {100: (1, 7), 2: (4, 6)}  # field of NetParameter -> (name, blobs) of its layers
_OLD_DIMENSIONS = (1, 2, 3, 4)
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8

Value = int | memoryview


def read_caffemodel(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Returns the blobs of every layer that has any, by layer name; of a convolution: weights, then biases.

    Raises:
        InvalidInputError: No such file, or not this format.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidInputError(f"weights {str(path)!r}: no such file")
    try:
        layers = dict(_layers(memoryview(file.read_bytes())))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"weights {str(path)!r} are no Caffe model: {error}") from error
    if not layers:
        raise InvalidInputError(f"weights {str(path)!r}: no layer with parameters; is it a .caffemodel file?")
    return layers


def _layers(net: memoryview) -> Iterator[tuple[str, list[np.ndarray]]]:
    for field, layer in _fields(net):
        if field not in _LAYER_FIELDS or not isinstance(layer, memoryview):
            continue
        name_field, blob_field = _LAYER_FIELDS[field]
        name = ""
        blobs = []
        for inner, value in _fields(layer):
            if inner == name_field and isinstance(value, memoryview):
                name = bytes(value).decode()
            elif inner == blob_field and isinstance(value, memoryview):
                blobs.append(_blob(value))
        if blobs:
            yield name, blobs


def _blob(message: memoryview) -> np.ndarray:
    old_shape = dict.fromkeys(_OLD_DIMENSIONS, 0)
    shape: list[int] | None = None
    pieces: dict[int, list[memoryview]] = {_DATA: [], _DOUBLE_DATA: []}
    for field, value in _fields(message):
        if field in old_shape and isinstance(value, int):
            old_shape[field] = value
        elif field == _SHAPE and isinstance(value, memoryview):
            shape = _dimensions(value)
        elif field in pieces and isinstance(value, memoryview):
            pieces[field].append(value)
    field, dtype = (_DATA, "<f4") if pieces[_DATA] else (_DOUBLE_DATA, "<f8")
    values = np.frombuffer(b"".join(pieces[field]), dtype=dtype).astype(np.float32)
    wanted = list(old_shape.values()) if shape is None else shape
    if prod(wanted) != values.size:
        raise ValueError(f"a blob of shape {wanted} holds {values.size} values")
    return values.reshape(wanted)


def _dimensions(message: memoryview) -> list[int]:
    dimensions: list[int] = []
    for field, value in _fields(message):
        if field != 1:
            continue
        if isinstance(value, int):
            dimensions.append(value)
            continue
        position = 0
        while position < len(value):
            dimension, position = _varint(value, position)
            dimensions.append(dimension)
    return dimensions


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yields field numbers and values: an int for a varint, the bytes for all else."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield field, value
            continue
        if wire == _BYTES:
            size, position = _varint(message, position)
        elif wire in {_FIXED32, _FIXED64}:
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if position + size > len(message):
            raise ValueError(f"field {field} ends {position + size - len(message)} bytes behind its message")
        yield field, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Returns the number at `position`, seven bits a byte and the lowest first, and the position behind it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {position}")
