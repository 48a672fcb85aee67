import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wsss_jobs.storage.tensor_rows import encode_tensors, tensors_of_row

SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def bits(dtype):
    """Arrays of any bit pattern, so of every NaN, infinity, zero and denormal there is."""
    width = np.dtype(dtype).itemsize
    return npst.arrays(np.dtype(f"u{width}"), SHAPES).map(lambda array: array.view(dtype))


TENSORS = st.dictionaries(
    st.sampled_from(["cam", "class_ids", "score", "shape"]),
    st.one_of(bits("f2"), bits("f4"), bits("u1"), bits("i4")).filter(lambda array: array.dtype.name in
    {"float16", "float32", "uint8", "int32"}),
    max_size=3,
)  # fmt: skip


def read(data):
    return pq.read_table(pa.BufferReader(data))


@settings(max_examples=60)
@given(TENSORS)
def test_round_trip_is_exact_to_the_bit(tensors):
    data = encode_tensors("id", "key", tensors)
    decoded = tensors_of_row(read(data))
    assert list(decoded) == list(tensors)
    for name, tensor in tensors.items():
        assert decoded[name].dtype == tensor.dtype
        assert decoded[name].shape == tensor.shape
        assert decoded[name].tobytes() == tensor.tobytes()
    assert encode_tensors("id", "key", tensors) == data


def test_special_values_and_gaps_in_memory():
    values = np.array([np.nan, -np.nan, -0.0, 0.0, np.inf, 6e-8], np.float16)
    values.view(np.uint16)[1] = 0x7E55  # a NaN with a payload
    table = np.stack([values] * 4, axis=1)[::-1, ::2]
    decoded = tensors_of_row(read(encode_tensors("id", "key", {"x": table})))["x"]
    np.testing.assert_array_equal(decoded.view(np.uint16), np.ascontiguousarray(table).view(np.uint16))


def test_other_tools_see_flat_lists_and_shapes():
    cam_Khw = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    frame = pd.read_parquet(io.BytesIO(encode_tensors("ab12", "folder/ä", {"cam": cam_Khw})))
    assert list(frame.columns) == ["item_id", "source_key", "cam", "cam_shape"]
    assert (frame.item_id[0], frame.source_key[0]) == ("ab12", "folder/ä")
    np.testing.assert_array_equal(frame.cam[0].reshape(frame.cam_shape[0]), cam_Khw)


def test_arrays_are_read_only():
    decoded = tensors_of_row(read(encode_tensors("id", "key", {"x": np.zeros(3, np.float32)})))
    with pytest.raises(ValueError, match="read-only"):
        decoded["x"][0] = 1


@pytest.mark.parametrize("dtype", ["float64", "int64", "bool"])
def test_other_dtypes_are_refused_with_the_remedy(dtype):
    with pytest.raises(ValueError, match=f"{dtype} cannot be stored; cast"):
        encode_tensors("id", "key", {"x": np.zeros(3, dtype)})


@pytest.mark.parametrize("names", [["item_id"], ["a b"], ["x", "x_shape"], [""]])
def test_names_that_would_clash_are_refused(names):
    with pytest.raises(ValueError, match="cannot be a column"):
        encode_tensors("id", "key", {name: np.zeros(1, np.uint8) for name in names})
