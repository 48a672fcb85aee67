"""Random numbers as a function of where they are used: (seed, item, step, node, unit) -> 32 bits, on every backend.

A generator with a state would tie an image's masks to the device, and to the order and company in which it is solved.
Here a draw is a hash of a counter under a key of 64 bits; the same few integer operations run in NumPy, PyTorch, C++
and Triton, and give the same bits. The mixer is the two-round multiply-xorshift of C. Wellons ("lowbias32", 2018), with
half of the key before the first round and half before the second.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import InvalidInputError

FIRST_MULTIPLIER = 0x7FEB352D
SECOND_MULTIPLIER = 0x846CA68B
STEP_INCREMENTS = np.array([0x9E3779B9, 0x85EBCA77], dtype=np.uint32)
MAX_COUNTER = 2**31
"""Counters (node * hidden_channels + unit) stay below this, so that signed 32-bit integers can hold them."""


def item_key(seed: int, item_id: str, purpose: str) -> NDArray[np.uint32]:
    """Key of one image's draws for one purpose.

    Shapes:
        returns: [2] uint32.
    """
    digest = hashlib.blake2b(f"{purpose}\0{seed}\0{item_id}".encode(), digest_size=8).digest()
    return np.frombuffer(digest, dtype="<u4").astype(np.uint32)


def dropout_keys(seed: int, item_id: str, num_steps: int) -> NDArray[np.uint32]:
    """Keys of an image's dropout masks.

    Shapes:
        returns: [num_steps, 2] uint32.
    """
    steps = np.arange(num_steps, dtype=np.uint32)[:, None]
    with np.errstate(over="ignore"):
        spread = item_key(seed, item_id, "dropout")[None, :] + (steps + np.uint32(1)) * STEP_INCREMENTS[None, :]
    return hash_bits(spread, np.array([0, 0], dtype=np.uint32))


def hash_bits(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """32 pseudo-random bits for every counter value.

    Shapes:
        counter: any shape, uint32.
        key: [2] uint32.
        returns: the shape of the counter.
    """
    with np.errstate(over="ignore"):
        x: NDArray[np.uint32] = counter ^ key[0]
        x ^= x >> np.uint32(16)
        x *= np.uint32(FIRST_MULTIPLIER)
        x ^= x >> np.uint32(15)
        x ^= key[1]
        x *= np.uint32(SECOND_MULTIPLIER)
        x ^= x >> np.uint32(16)
    return x


def uniform(seed: int, item_id: str, purpose: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers in the open interval (-1, 1), equally spaced in distribution.

    Shapes:
        returns: `shape`.
    """
    count = int(np.prod(shape))
    bits = hash_bits(np.arange(count, dtype=np.uint32), item_key(seed, item_id, purpose))
    return ((bits.astype(np.float64) + 0.5) / 2**31 - 1.0).reshape(shape)


def keep_threshold(dropout: float) -> int:
    """A unit is kept when its 32 bits, as an unsigned number, are at least this."""
    return round(dropout * 2**32)


class KeepMasks:
    """Dropout masks of one image as float factors, 0 or 1 / (1 - dropout), worked out in place.

    Shapes:
        a mask: [num_nodes, num_units].

    Raises:
        InvalidInputError: there are more units than counters.
    """

    def __init__(self, keys: NDArray[np.uint32], num_nodes: int, num_units: int, dropout: float, like: Tensor) -> None:
        if num_nodes * num_units >= MAX_COUNTER:
            raise InvalidInputError(f"{num_nodes} nodes with {num_units} units are too many for one image's dropout")
        self._keys = [[_as_signed(int(word)) for word in key] for key in keys]
        self._counter = torch.arange(num_nodes * num_units, dtype=torch.int32, device=like.device)
        self._bits = torch.empty_like(self._counter)
        self._shifted = torch.empty_like(self._counter)
        # Flipping the top bit turns the unsigned comparison into the signed one that PyTorch has.
        self._threshold = keep_threshold(dropout) - 2**31
        self._factor = torch.empty((num_nodes, num_units), dtype=like.dtype, device=like.device)
        self._scale = 1.0 / (1.0 - dropout)

    def factor(self, step: int) -> Tensor:
        """The mask of a step; overwritten by the next call.

        Shapes:
            returns: [num_nodes, num_units].
        """
        first, second = self._keys[step]
        bits = torch.bitwise_xor(self._counter, first, out=self._bits)
        self._fold(16).mul_(FIRST_MULTIPLIER)
        self._fold(15).bitwise_xor_(second).mul_(_as_signed(SECOND_MULTIPLIER))
        self._fold(16).bitwise_xor_(-(2**31))
        torch.ge(bits.view_as(self._factor), self._threshold, out=self._factor)
        return self._factor.mul_(self._scale)

    def _fold(self, shift: int) -> Tensor:
        """`bits ^= bits >> shift`, with the shift of unsigned numbers."""
        torch.bitwise_right_shift(self._bits, shift, out=self._shifted)
        self._shifted.bitwise_and_(2 ** (32 - shift) - 1)
        return self._bits.bitwise_xor_(self._shifted)


def _as_signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
