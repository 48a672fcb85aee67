"""Label Studio's brush format: run lengths of an RGBA picture as a string of bits.

From the format's description in `label_studio_sdk.converter.brush` and the code that it follows, thi.ng's `rle-pack`:
32 bits number of values, 5 bits word size - 1, four times 4 bits length size - 1; then blocks of 1 bit (1: a run),
2 bits which length size, that many bits length - 1, and the value.

Shapes:
    mask_HW: bool.
"""

import numpy as np
from numpy.typing import NDArray

_WORD_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_CHANNELS = 4
_LONGEST_RUN = 1 << _LENGTH_BITS[-1]
_HEAD_BITS = 3  # the run's mark and which length size


def encode_brush(mask_HW: NDArray[np.bool_]) -> list[int]:
    """The bytes of a mask as Label Studio's `rle`: all four channels are 255 inside and 0 outside."""
    lengths, values = _runs(mask_HW.ravel())
    size_index = np.searchsorted(1 << np.array(_LENGTH_BITS), lengths)
    length_bits = np.array(_LENGTH_BITS)[size_index]
    codes = ((4 | size_index) << length_bits | (lengths - 1)) << _WORD_BITS | values
    num_bits = _HEAD_BITS + length_bits + _WORD_BITS
    bits = np.concatenate([_header(mask_HW.size * _CHANNELS), _bits(codes, num_bits)])
    packed: list[int] = np.packbits(bits).tolist()
    return packed


def _runs(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Length, in values, and value of every run; long ones in pieces that a block can hold."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(inside)) + 1, [inside.size]])
    lengths = np.diff(starts) * _CHANNELS
    values = np.where(inside[starts[:-1]], 255, 0)
    num_full = (lengths - 1) // _LONGEST_RUN
    pieces = np.repeat(np.full_like(lengths, _LONGEST_RUN), num_full + 1)
    pieces[np.cumsum(num_full + 1) - 1] = lengths - num_full * _LONGEST_RUN
    return pieces, np.repeat(values, num_full + 1)


def _header(num_values: int) -> NDArray[np.uint8]:
    fields = [(num_values, 32), (_WORD_BITS - 1, 5), *((bits - 1, 4) for bits in _LENGTH_BITS)]
    return np.concatenate([_bits(np.array([value]), np.array([bits])) for value, bits in fields])


def _bits(codes: NDArray[np.int64], num_bits: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The lowest `num_bits` of every code, highest first, one after the other."""
    place = np.arange(int(num_bits.max()))
    shift = num_bits[:, None] - 1 - place
    digits: NDArray[np.uint8] = ((codes[:, None] >> shift.clip(min=0)) & 1)[shift >= 0].astype(np.uint8)
    return digits
