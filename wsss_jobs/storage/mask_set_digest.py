"""What tells one set of masks from another: a hash of their keys and of their bytes' hashes."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsss_jobs.storage.item_names import in_one_piece, string_column

_LINES_AT_A_TIME = 1 << 13
_CHUNKS_A_BUCKET = 8


def mask_set_digest(keys: Iterable[str], sha256_n32: NDArray[np.uint8]) -> str:
    """Returns the `plan_digest` of the lines "<key> <sha256>": the SHA-256 of them, sorted and joined by line feeds.

    A million lines would take 100 MB, twice while they are sorted; they are made one after the other.

    Args:
        keys: One a mask, all different, in any order.
        sha256_n32: The hash of each mask's bytes, uint8 `[n, 32]`.
    """
    digest = hashlib.sha256()
    lines = _sorted_lines(_in_key_order(string_column(keys), sha256_n32))
    separator = b""
    while some := list(islice(lines, _LINES_AT_A_TIME)):
        digest.update(separator + "\n".join(some).encode())
        separator = b"\n"
    return digest.hexdigest()


def _in_key_order(keys: pa.ChunkedArray, sha256_n32: NDArray[np.uint8]) -> Iterator[tuple[str, str]]:
    """Yields each key and its line."""
    for rows_n in _buckets(keys):
        texts = in_one_piece(keys.filter(pa.array(rows_n)))
        numbers = np.flatnonzero(rows_n)
        order = pc.sort_indices(texts)
        for first in range(0, len(order), _LINES_AT_A_TIME):
            some = order.slice(first, _LINES_AT_A_TIME)
            for key, row in zip(texts.take(some).to_pylist(), numbers[some.to_numpy()], strict=True):
                yield key, f"{key} {sha256_n32[row].tobytes().hex()}"


def _buckets(keys: pa.ChunkedArray) -> Iterator[NDArray[np.bool_]]:
    """Yields which keys, bool `[n]`, come first in sorted order, which next: sorting a million at once takes 80 MB.

    Wherever each chunk begins, some of these beginnings part all keys into like shares, or nearly.
    """
    splitters = sorted(chunk[0].as_py() for chunk in keys.chunks)[_CHUNKS_A_BUCKET::_CHUNKS_A_BUCKET]
    before_n = np.zeros(len(keys), dtype=np.bool_)
    for splitter in splitters:
        up_to_n = pc.less(keys, splitter).to_numpy()
        yield up_to_n & ~before_n
        before_n = up_to_n
    yield ~before_n


def _sorted_lines(keys_and_lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yields lines in their own order, out of that of their keys.

    The two differ only where a key goes on, behind another whole key, with a space, the least character that a key may
    have: there, the other's hash is compared with what follows. Such keys follow each other.
    """
    family: list[str] = []
    eldest = ""
    for key, line in keys_and_lines:
        if not family or not key.startswith(f"{eldest} "):
            yield from sorted(family)
            family, eldest = [], key
        family.append(line)
    yield from sorted(family)
