"""What holds for any image and any unary, whatever computes it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF

CONFIG = DenseCRFConfig(bilateral_srgb=13)
FEW = settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
label_counts = st.integers(2, 21)
seeds = st.integers(0, 2**16)


@pytest.fixture(params=["auto", "torch"])
def crf(request):
    """The backend that users get, and the one that runs everywhere."""
    return DenseCRF(replace(CONFIG, backend=request.param))


@FEW
@given(size=sizes, num_labels=label_counts, num_variants=st.integers(1, 3), seed=seeds)
def test_marginals_are_probabilities(crf, image_factory, unary_factory, size, num_labels, num_variants, seed):
    unary_VCHW = unary_factory(num_variants, num_labels, *size, seed=seed)
    prob_VCHW = crf.refine_many(image_factory(*size, "noise", seed), unary_VCHW)
    assert prob_VCHW.shape == unary_VCHW.shape
    assert prob_VCHW.dtype == np.float32
    assert prob_VCHW.min() >= 0
    assert np.allclose(prob_VCHW.sum(axis=1), 1, atol=1e-5)


@FEW
@given(size=sizes, num_labels=label_counts, num_variants=st.integers(2, 4), seed=seeds)
def test_variants_are_what_they_are_alone(crf, image_factory, unary_factory, size, num_labels, num_variants, seed):
    """Bit for bit from C++; torch rounds rows of different widths differently."""
    image_HW3, unary_VCHW = image_factory(*size, seed=seed), unary_factory(num_variants, num_labels, *size, seed=seed)
    together_VCHW = crf.refine_many(image_HW3, unary_VCHW)
    alone_VCHW = np.stack([crf.refine(image_HW3, unary_CHW) for unary_CHW in unary_VCHW])
    if crf.backend_name == "native":
        assert np.array_equal(together_VCHW, alone_VCHW)
    else:
        assert np.abs(together_VCHW - alone_VCHW).mean() < 1e-5


@FEW
@given(size=sizes, order=st.permutations(range(6)), seed=seeds)
def test_labels_have_no_order(crf, image_factory, unary_factory, size, order, seed):
    image_HW3, unary_CHW = image_factory(*size, seed=seed), unary_factory(1, 6, *size, seed=seed)[0]
    prob_CHW, permuted_CHW = crf.refine(image_HW3, unary_CHW), crf.refine(image_HW3, unary_CHW[order])
    assert np.abs(permuted_CHW - prob_CHW[order]).mean() < 1e-5


@FEW
@given(size=sizes, seed=seeds)
def test_a_constant_added_to_a_pixel_s_energies_changes_nothing(crf, image_factory, unary_factory, size, seed):
    image_HW3, unary_CHW = image_factory(*size, seed=seed), unary_factory(1, 3, *size, seed=seed)[0]
    shift_HW = np.random.default_rng(seed).integers(-8, 9, size).astype(np.float32)
    shifted_CHW = crf.refine(image_HW3, unary_CHW + shift_HW)
    assert np.abs(shifted_CHW - crf.refine(image_HW3, unary_CHW)).mean() < 1e-5


def test_earlier_calls_leave_nothing_behind(crf, image_factory, unary_factory):
    """The native library keeps its memory, larger and smaller images share it."""
    problems = [(s, n) for s in ((30, 41), (7, 9), (41, 30), (64, 64)) for n in (2, 21, 3)]
    first = {p: crf.refine(image_factory(*p[0]), unary_factory(1, p[1], *p[0])[0]) for p in problems}
    for size, num_labels in reversed(problems):
        again = crf.refine(image_factory(*size), unary_factory(1, num_labels, *size)[0])
        assert np.array_equal(again, first[size, num_labels])


def test_threads_share_an_engine(crf, image_factory, unary_factory):
    problems = [(image_factory(40, 50, seed=i), unary_factory(1, 2 + i % 4, 40, 50, seed=i)[0]) for i in range(12)]
    expected = [crf.refine(*problem) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda problem: crf.refine(*problem), problems * 3))
    for i, prob_CHW in enumerate(found):
        assert np.array_equal(prob_CHW, expected[i % len(problems)])


@pytest.mark.parametrize("config", [replace(CONFIG, num_iterations=0), DenseCRFConfig(3, 0, 50, 5, 0)])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_without_iterations_or_kernels_it_is_a_softmax(config, backend, image_factory, unary_factory):
    unary_CHW = unary_factory(1, 5, 11, 13)[0]
    prob_CHW = DenseCRF(replace(config, backend=backend)).refine(image_factory(11, 13), unary_CHW)
    exp_CHW = np.exp(-unary_CHW.astype(np.float64))
    assert np.allclose(prob_CHW, exp_CHW / exp_CHW.sum(axis=0), rtol=1e-5, atol=0)


def test_one_label_is_certain(crf, image_factory, unary_factory):
    assert np.array_equal(crf.refine(image_factory(5, 6), unary_factory(1, 1, 5, 6)[0]), np.ones((1, 5, 6)))


def test_the_answer_follows_the_edges_of_the_image(crf):
    """Two halves of different colour, a unary whose edge is four columns off: the answer's edge is the image's."""
    image_HW3 = np.zeros((20, 30, 3), np.uint8)
    image_HW3[:, 15:] = 200
    unary_CHW = np.zeros((2, 20, 30), np.float32)
    unary_CHW[1, :, :19], unary_CHW[0, :, 19:] = 1, 1
    label_HW = crf.refine(image_HW3, unary_CHW).argmax(axis=0)
    assert np.array_equal(label_HW, np.broadcast_to(np.arange(30) >= 15, (20, 30)))
