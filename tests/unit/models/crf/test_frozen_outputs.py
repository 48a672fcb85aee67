"""Every backend against stored answers of pydensecrf (make_frozen_outputs.py wrote them)."""

from pathlib import Path

import numpy as np
import pytest

from models.crf.config import DenseCRFConfig

FROZEN = Path(__file__).with_name("frozen_outputs.npz")
PARAMETERS = ("gaussian_sxy_px", "gaussian_compat", "bilateral_sxy_px", "bilateral_srgb", "bilateral_compat")


@pytest.fixture(params=range(6))
def case(request):
    """(image, unaries, config, pydensecrf's marginals)."""
    with np.load(FROZEN) as stored:
        image, unary, values, prob = (stored[f"{request.param}_{k}"] for k in ("image", "unary", "parameters", "prob"))
    config = DenseCRFConfig(
        **dict(zip(PARAMETERS, values[:5].tolist(), strict=True)),
        num_iterations=int(values[5]),
    )
    return image, unary[None], config, prob[None]


def test_own_backends(case, own_backends):
    image, unary, config, expected = case
    for name, backend in own_backends.items():
        assert np.allclose(backend.refine_many(image, unary, config), expected, rtol=0, atol=2e-5), name


def test_the_file_is_what_pydensecrf_says(case, pydensecrf_backend):
    image, unary, config, expected = case
    assert np.allclose(pydensecrf_backend.refine_many(image, unary, config), expected, rtol=0, atol=1e-6)


def test_the_cases_are_not_trivial(case):
    """Each moves some labels, and leaves more than one."""
    _, unary, _, expected = case
    assert (unary.argmin(axis=1) != expected.argmax(axis=1)).any()
    assert len(np.unique(expected.argmax(axis=1))) > 1
