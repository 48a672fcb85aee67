"""Records kept as the columns of an Arrow table and made when they are looked at: a million of them stay small."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Self, SupportsIndex, TypeVar, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_RECORDS_AT_A_TIME = 1024

T = TypeVar("T")


class ColumnSequence(ABC, Sequence[T], Generic[T]):
    """A sequence of records over the rows of a table.

    A selection is another view of the same table: it takes 8 bytes a record, and copies nothing.

    Args:
        table: One row a record.
        rows: int64 `[n]`, the rows that are seen, in order; None for all.
    """

    def __init__(self, table: pa.Table, rows: NDArray[np.int64] | None = None) -> None:
        self._table = table
        self._rows = rows

    @staticmethod
    @abstractmethod
    def record(row: dict[str, Any]) -> T:
        """Returns the record of a row."""

    def __len__(self) -> int:
        return self._table.num_rows if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: SupportsIndex | slice) -> T | Self:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        position = range(len(self))[index]  # negative ones count from the end, and none is out of range
        return next(self._records(position, 1))

    def __iter__(self) -> Iterator[T]:
        for first in range(0, len(self), _RECORDS_AT_A_TIME):
            yield from self._records(first, _RECORDS_AT_A_TIME)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def column(self, name: str) -> pa.ChunkedArray:
        """Returns one value a record, in order."""
        column = self._table.column(name)
        return column if self._rows is None else column.take(pa.array(self._rows))

    def where(self, chosen: NDArray[np.bool_]) -> Self:
        """Returns the records for which `chosen`, bool `[n]`, is true."""
        return self if chosen.all() else self.take(np.flatnonzero(chosen))

    def take(self, positions: NDArray[np.int64]) -> Self:
        """Returns the records at these positions, in their order."""
        return type(self)(self._table, positions if self._rows is None else self._rows[positions])

    def _records(self, first: int, count: int) -> Iterator[T]:
        if self._rows is None:
            table = self._table.slice(first, count)
        else:
            table = self._table.take(pa.array(self._rows[first : first + count]))
        return map(self.record, table.to_pylist())
