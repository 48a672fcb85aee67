"""When a training has converged: hand-made curves, and what must hold for any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wsss_jobs.training.convergence import ConvergenceRule

LOSSES = st.lists(st.floats(1e-6, 10), max_size=12)


@pytest.mark.parametrize(
    ("losses", "met"),
    [
        ([], False),
        ([1.0], False),
        ([1.0, 1.0, 1.0], False),  # three epochs say nothing without one before them
        ([1.0, 1.0, 1.0, 1.0], True),
        ([1.0, 0.995, 0.993, 0.991], True),  # less than 1 % in three epochs
        ([1.0, 0.995, 0.993, 0.989], False),
        ([1.0, 0.5, 0.6, 0.7, 0.8], True),  # it rises
        ([1.0, 0.9, 0.8, 0.7, 0.6], False),
        ([0.5, 1.0, 1.0, 0.49], False),
    ],
)
def test_hand_made_curves(losses, met):
    assert ConvergenceRule(patience_epochs=3, min_improvement=0.01).is_met(losses) is met


@given(LOSSES, st.integers(1, 4), st.floats(0, 0.5))
def test_it_is_the_rule_written_out(losses, patience, improvement):
    rule = ConvergenceRule(patience_epochs=patience, min_improvement=improvement)
    expected = len(losses) > patience and all(
        late > (1 - improvement) * early for late in losses[-patience:] for early in [min(losses[:-patience])]
    )
    assert rule.is_met(losses) is expected


@given(LOSSES, st.floats(0.1, 10))
def test_the_unit_of_the_loss_does_not_matter(losses, factor):
    rule = ConvergenceRule(patience_epochs=2, min_improvement=0.0)
    steady = [round(loss, 3) + 0.001 for loss in losses]
    assert rule.is_met(steady) == rule.is_met([loss * 2.0 ** round(factor) for loss in steady])


def test_bounds():
    with pytest.raises(ValidationError):
        ConvergenceRule(patience_epochs=0)
    with pytest.raises(ValidationError):
        ConvergenceRule(min_improvement=1.0)
