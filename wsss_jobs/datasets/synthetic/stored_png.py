"""PNG files without compression: their bytes depend on the pixels and on nothing else.

Compressed PNG and JPEG bytes differ between versions of zlib and libjpeg. Item ids come from file bytes and seed every
random draw, so compressed files would make the demonstration's figures differ from machine to machine. 66 kB an image
is a small price.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_BLOCK_BYTES = 0xFFFF


def encode_stored_png(image_HW3: NDArray[np.uint8]) -> bytes:
    """An 8-bit RGB PNG (ISO/IEC 15948) whose deflate stream (RFC 1951) has stored blocks only."""
    height, width, _ = image_HW3.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB, no filter, not interlaced
    rows = b"".join(b"\x00" + row.tobytes() for row in np.ascontiguousarray(image_HW3))
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _stored(data: bytes) -> bytes:
    starts = range(0, len(data), _MAX_BLOCK_BYTES)
    blocks = [_block(data[start : start + _MAX_BLOCK_BYTES], start == starts[-1]) for start in starts]
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(data))


def _block(data: bytes, is_last: bool) -> bytes:
    return struct.pack("<BHH", is_last, len(data), len(data) ^ 0xFFFF) + data
