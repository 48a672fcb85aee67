"""The two names of an item that the ledger knows, for many items at a time."""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsss_jobs.storage.column_sequence import ColumnSequence

_STRINGS_AT_A_TIME = 1 << 16


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
            columns = {name: string_column(getattr(item, name) for item in items) for name in ItemName._fields}
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
        sources = (key for chunk in self.column("source_key").chunks for part in _pieces(chunk) for key in part)
        return string_column(map(key_of, sources))


def string_column(texts: Iterable[str]) -> pa.ChunkedArray:
    """Returns strings as a column; no more than some thousands of them exist as Python objects at a time."""
    remaining = iter(texts)
    chunks = iter(lambda: list(islice(remaining, _STRINGS_AT_A_TIME)), [])
    return pa.chunked_array((pa.array(chunk, type=pa.string()) for chunk in chunks), type=pa.string())


def is_among(column: pa.ChunkedArray, values: pa.ChunkedArray | Iterable[str]) -> NDArray[np.bool_]:
    """Returns for each string of a column whether it is one of the values, bool `[n]`."""
    found = values if isinstance(values, pa.ChunkedArray) else string_column(values)
    return np.asarray(pc.is_in(column, value_set=found).to_numpy(), dtype=np.bool_)


def _pieces(chunk: pa.Array) -> Iterator[list[str]]:
    for first in range(0, len(chunk), _STRINGS_AT_A_TIME):
        yield chunk.slice(first, _STRINGS_AT_A_TIME).to_pylist()
