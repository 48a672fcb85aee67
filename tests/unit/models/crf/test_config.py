import math

import pytest

from models.crf import dense_crf
from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.errors import InvalidInputError


@pytest.mark.parametrize("name", ["gaussian_sxy_px", "bilateral_sxy_px", "bilateral_srgb"])
@pytest.mark.parametrize("value", [0, -1, 1e-40, math.nan, math.inf])
def test_a_sigma_that_is_none(name, value):
    """pydensecrf takes the process down at 0."""
    with pytest.raises(InvalidInputError, match=f"{name} must be finite, 0.001 or more, found {value!r}"):
        DenseCRFConfig(**{name: value})


@pytest.mark.parametrize("name", ["gaussian_compat", "bilateral_compat"])
@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, math.inf, 1e7])
def test_a_weight_that_is_none(name, value):
    """pydensecrf aborts the process below 0."""
    with pytest.raises(InvalidInputError, match=f"{name} must be from 0 to 1000000, found {value!r}"):
        DenseCRFConfig(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("num_iterations", -1), ("max_pixels", 0), ("backend", "cuda")])
def test_other_values_out_of_range(name, value):
    with pytest.raises(InvalidInputError, match=f"{name} must be .*, found {value!r}"):
        DenseCRFConfig(**{name: value})


def test_auto_is_native_where_it_was_built_and_torch_elsewhere(monkeypatch, native_builds):
    expected = "native" if native_builds else "torch"
    assert DenseCRF(DenseCRFConfig()).backend_name == expected
    monkeypatch.setattr(dense_crf, "native_library", lambda: None)
    assert DenseCRF(DenseCRFConfig()).backend_name == "torch"
    with pytest.raises(InvalidInputError, match="was not built on this machine"):
        DenseCRF(DenseCRFConfig(backend="native"))


def test_a_device_other_than_the_cpu_takes_torch():
    assert DenseCRF(DenseCRFConfig(), device="meta").backend_name == "torch"
