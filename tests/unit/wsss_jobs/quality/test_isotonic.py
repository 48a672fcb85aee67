"""Monotone regression against SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from wsss_jobs.quality.isotonic import monotone_fit

pairs = st.lists(st.tuples(st.integers(0, 8), st.floats(0, 1)), min_size=1, max_size=25)


def test_by_hand():
    fit = monotone_fit([1, 2, 3, 4], [0.2, 0.6, 0.4, 0.9])
    assert fit.values == pytest.approx((0.2, 0.5, 0.5, 0.9))
    assert fit([0, 1.5, 9]) == pytest.approx([0.2, 0.35, 0.9])


@given(pairs)
def test_equals_scipy(found):
    scores, targets = map(np.array, zip(*found, strict=True))
    knots = np.unique(scores)
    means = np.array([targets[scores == knot].mean() for knot in knots])
    weights = np.array([(scores == knot).sum() for knot in knots], float)
    fit = monotone_fit(scores, targets)
    assert fit(knots) == pytest.approx(isotonic_regression(means, weights=weights).x, abs=1e-9)
    assert fit(scores).mean() == pytest.approx(targets.mean())
