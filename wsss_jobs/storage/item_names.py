"""The two names of an item that the ledger knows, for many items at a time."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsss_jobs.storage.column_sequence import ColumnSequence

_STRINGS_AT_A_TIME = 1 << 13  # as Python objects, each takes some hundred bytes


class ItemRef(Protocol):
    """What the ledger needs to know of an item; a `DatasetItem` is one."""

    @property
    def item_id(self) -> str:
        """Its id, made from its content."""

    @property
    def source_key(self) -> str:
        """The user's own name of it."""


class ItemName(NamedTuple):
    """An item as far as the ledger knows it."""

    item_id: str
    source_key: str


class ItemNames(ColumnSequence[ItemName]):
    """The names of items, as two columns."""

    @classmethod
    def of(cls, items: Collection[ItemRef]) -> "ItemNames":
        """Returns the names of any items, in their order; those of a `ColumnSequence` without making the items."""
        if isinstance(items, ColumnSequence):
            columns = {name: items.column(name) for name in ItemName._fields}
        else:
            each = {name: string_column(getattr(item, name) for item in items) for name in ItemName._fields}
            columns = {name: in_one_piece(column) for name, column in each.items()}
        return cls(pa.table(columns))

    @staticmethod
    def record(row: dict[str, Any]) -> ItemName:
        """Returns the names in a row."""
        return ItemName(**row)

    def by_id(self) -> "ItemNames":
        """Returns the names in item-id order."""
        return self.take(pc.sort_indices(self.column("item_id")).to_numpy())

    def keys(self, key_of: Callable[[str], str]) -> pa.ChunkedArray:
        """Returns what `key_of` makes of each source key."""
        sources = (
            key for chunk in self.column("source_key").chunks for piece in _pieces(chunk) for key in piece.to_pylist()
        )
        return string_column(map(key_of, sources))


def string_column(texts: Iterable[str]) -> pa.ChunkedArray:
    """Returns strings as a column; no more than some thousands of them exist as Python objects at a time."""
    return pa.chunked_array(_string_arrays(texts), type=pa.string())


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """Returns the column as one array: rows picked out of several would have all of it copied, for each pick."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def sorted_names(names: Iterable[str]) -> Iterator[str]:
    """Returns names of files in the order of their code points; a million of them take 30 MB, and not 80."""
    lists = _lists(names)
    first = next(lists, [])
    if len(first) < _STRINGS_AT_A_TIME:
        return iter(sorted(first))
    # Bytes: a name need not be valid UTF-8. Where it is, their order is that of the code points.
    arrays = [_packed(map(os.fsencode, some), pa.binary()) for some in chain([first], lists)]
    whole = in_one_piece(pa.chunked_array(arrays, type=pa.binary()))
    return (os.fsdecode(name) for piece in _pieces(pc.sort_indices(whole)) for name in whole.take(piece).to_pylist())


def is_among(column: pa.ChunkedArray, values: pa.ChunkedArray | Iterable[str]) -> NDArray[np.bool_]:
    """Returns for each string of a column whether it is one of the values, bool `[n]`.

    Values are taken some thousand at a time, and looked for where the column has strings between the least and the
    greatest of them: a listing of a million keys is never held as a whole, nor an index of it.
    """
    found = np.zeros(len(column), dtype=np.bool_)
    pieces = [piece for chunk in column.chunks for piece in _pieces(chunk)]
    starts = np.cumsum([0, *map(len, pieces)])
    spans = [_span(piece) for piece in pieces]
    for some in values.chunks if isinstance(values, pa.ChunkedArray) else _string_arrays(values):
        if not len(some):
            continue
        least, greatest = _span(some)
        near = [number for number, (low, high) in enumerate(spans) if low <= greatest and least <= high]
        looked_at = pa.chunked_array([pieces[number] for number in near], type=column.type)
        rows = [np.arange(starts[number], starts[number + 1]) for number in near]
        hits = pc.is_in(looked_at, value_set=some).to_numpy()
        found[np.concatenate([*rows, starts[:0]])[hits]] = True
    return found


def _span(texts: pa.StringArray) -> tuple[str, str]:
    """Returns the first and the last string in sorted order."""
    both: dict[str, str] = pc.min_max(texts).as_py()
    return both["min"], both["max"]


def _lists(texts: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(texts)
    return iter(lambda: list(islice(remaining, _STRINGS_AT_A_TIME)), [])


def _string_arrays(texts: Iterable[str]) -> Iterator[pa.StringArray]:
    return (_packed(some, pa.string()) for some in _lists(texts))


def _packed(texts: Iterable[str | bytes], type_: pa.DataType) -> pa.Array:
    """Returns an array in memory of its own size: `pa.array` grows buffers, and leaves holes of three times that."""
    grown = pa.array(texts, type=type_)
    return pa.concat_arrays([grown, grown.slice(len(grown))])  # two, for one alone is handed back as it is


def _pieces(chunk: pa.Array) -> Iterator[pa.Array]:
    for first in range(0, len(chunk), _STRINGS_AT_A_TIME):
        yield chunk.slice(first, _STRINGS_AT_A_TIME)
