"""Random numbers that are the same on every machine and with every NumPy: SplitMix64 on a counter.

Only integer arithmetic and exact floating-point operations are used here and in the other files of this package (no
`sin`, `exp`, `sum` or matrix products, whose last bits depend on the processor), so images are equal to the byte.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


class HashRandom:
    """A stream of random numbers for a key; streams of different keys are independent.

    Source: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", 2014.
    """

    def __init__(self, *key: int | str) -> None:
        digest = hashlib.sha256(repr(key).encode()).digest()
        self._key = np.frombuffer(digest[:8], dtype="<u8").astype(np.uint64)
        self._num_drawn = 0

    def array(self, *shape: int) -> NDArray[np.float64]:
        """Uniform numbers in [0, 1)."""
        size = int(np.prod(shape, dtype=np.int64))
        counter = np.arange(self._num_drawn + 1, self._num_drawn + size + 1, dtype=np.uint64)
        self._num_drawn += size
        bits = self._key + counter * _GOLDEN
        for shift, factor in _MIX:
            bits = (bits ^ (bits >> shift)) * factor
        bits ^= bits >> np.uint64(31)
        return ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self.array(1)[0])

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return low + int(self.array(1)[0] * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.array(1)[0] < probability)

    def choice(self, values: Sequence[_T]) -> _T:
        """One of the values."""
        return values[self.integer(0, len(values) - 1)]

    def shuffled(self, values: Sequence[_T]) -> list[_T]:
        """The values in random order."""
        order = np.argsort(self.array(len(values)), kind="stable")
        return [values[index] for index in order]
