"""One item's named tensors as one Parquet row, readable by DuckDB, pandas and Ray Data.

Columns: `item_id`, `source_key`, and for every tensor `<name>` (its values, flat and row-major) and `<name>_shape`. The
round trip is exact to the bit, NaN payloads and signs of zero included.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wsss_jobs.storage.tables import TableKind, with_tag

TENSOR_ROWS = TableKind("tensor_rows", 1)
_VALUE_TYPES = {"float16": pa.float16(), "float32": pa.float32(), "uint8": pa.uint8(), "int32": pa.int32()}
_RESERVED = frozenset({"item_id", "source_key"})
_SHAPE_SUFFIX = "_shape"


def encode_tensors(item_id: str, source_key: str, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """A Parquet file of one row.

    Args:
        item_id: Goes into the column of that name.
        source_key: Goes into the column of that name.
        tensors: float16, float32, uint8 or int32 arrays of any shape, empty ones included; columns keep their order.

    Raises:
        ValueError: A name or a dtype cannot be stored.
    """
    columns: dict[str, pa.Array] = {"item_id": pa.array([item_id]), "source_key": pa.array([source_key])}
    for name, tensor in tensors.items():
        _check_name(name, tensors)
        columns[name] = _one_list(tensor, name)
        columns[name + _SHAPE_SUFFIX] = pa.array([list(tensor.shape)], type=pa.list_(pa.int32()))
    sink = pa.BufferOutputStream()
    table = with_tag(pa.table(columns), TENSOR_ROWS)
    with tensor_writer(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def tensor_writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer for tensor rows, one row group a call.

    Statistics are of ids alone, which keeps footers small. Values are plain: on float16 CAMs dictionaries make files
    half as large again, and byte stream split, which saves a fifth, is not read by DuckDB for float16.
    """
    return pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=3, use_dictionary=False, write_statistics=["item_id"]
    )


def tensors_of_row(row: pa.Table) -> dict[str, NDArray[Any]]:
    """The tensors of a table of one row, in the order in which they were given. The arrays are read-only."""
    return {name: _tensor(row, name) for name in tensor_names(row)}


def tensor_names(row: pa.Table) -> list[str]:
    """The names of the tensors of a table, in the order in which they were given."""
    return [name for name in row.column_names if name + _SHAPE_SUFFIX in row.column_names]


def _tensor(row: pa.Table, name: str) -> NDArray[Any]:
    values = row.column(name).combine_chunks().flatten()
    shape = row.column(name + _SHAPE_SUFFIX)[0].as_py()
    array: NDArray[Any] = values.to_numpy(zero_copy_only=True).reshape(shape)
    return array


def _one_list(tensor: NDArray[Any], name: str) -> pa.Array:
    value_type = _VALUE_TYPES.get(tensor.dtype.name)
    if value_type is None:
        raise ValueError(
            f"tensor {name!r}: dtype {tensor.dtype} cannot be stored; cast to one of {', '.join(_VALUE_TYPES)}"
        )
    flat = np.ascontiguousarray(tensor).reshape(-1)
    offsets = pa.array([0, flat.size], type=pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(flat, type=value_type, from_pandas=False))


def _check_name(name: str, tensors: Mapping[str, NDArray[Any]]) -> None:
    is_shape = name.endswith(_SHAPE_SUFFIX) and name.removesuffix(_SHAPE_SUFFIX) in tensors
    if not name.isidentifier() or name in _RESERVED or is_shape:
        raise ValueError(f"tensor name {name!r} cannot be a column: use an identifier other than {sorted(_RESERVED)}")
