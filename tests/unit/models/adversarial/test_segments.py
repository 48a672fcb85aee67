"""What is fed and what counts (equations 3, 8, 9, 10), the grid of leaks, and the target class."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.adversarial.remnant_feeding import RemnantFeeding
from models.adversarial.segments import enlarged, segments
from models.adversarial.target_class import NO_TARGET, draw_target_class, has_target, of_target
from models.errors import InvalidInputError


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), leaks=st.booleans())
def test_features_and_masks_are_the_papers_equations(seed, leaks):
    generator = torch.Generator().manual_seed(seed)
    cam, features = torch.rand(2, 1, 5, 7, generator=generator), torch.randn(2, 4, 5, 7, generator=generator)
    leak = torch.randint(0, 2, (2, 1, 5, 7), generator=generator).float() if leaks else torch.zeros(2, 1, 5, 7)
    of_target, of_rest = cam * features, (1 - cam) * features  # equation 3
    found = segments(cam, leak if leaks else None)
    assert torch.allclose(features * found.fed_target, of_target + leak * of_rest, atol=1e-5)  # equation 8
    assert torch.allclose(features * found.fed_rest, of_rest + leak * of_target, atol=1e-5)  # equation 9
    assert torch.allclose(found.valid_target, (1 - cam) * (1 - leak))  # equation 10
    assert torch.allclose(found.valid_rest, cam * (1 - leak))
    for mask in (found.fed_target, found.fed_rest, found.valid_target, found.valid_rest):
        assert 0 <= float(mask.min()) <= float(mask.max()) <= 1


def test_where_everything_leaks_nothing_counts():
    found = segments(torch.rand(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
    assert torch.equal(found.fed_target, torch.ones(1, 1, 4, 4))
    assert not found.valid_target.any()
    assert not found.valid_rest.any()


def test_the_released_schedule_of_leaks():
    remnants = RemnantFeeding()
    assert [remnants.probability_at(epoch) for epoch in (0, 1, 39, 90)] == pytest.approx([0.80, 0.79, 0.41, 0.0])
    assert RemnantFeeding(probability=0.6, decay_per_epoch=0.0).probability_at(30) == 0.6


@settings(deadline=None, max_examples=15)
@given(probability=st.floats(0, 1), epoch=st.integers(0, 60), seed=st.integers(0, 99))
def test_a_grid_is_of_zeros_and_ones_in_the_drawn_share(probability, epoch, seed):
    remnants = RemnantFeeding(cells=64, probability=probability)
    grid = remnants.draw(epoch, np.random.default_rng(seed))
    assert grid.shape == (1, 64, 64)
    assert set(np.unique(grid)) <= {0.0, 1.0}
    assert grid.mean() == pytest.approx(remnants.probability_at(epoch), abs=0.05)  # six standard deviations


def test_cells_are_squares_of_16_pixels_at_256_and_cover_odd_sizes():
    leak = torch.arange(256.0).view(1, 1, 16, 16)
    large = enlarged(leak, (256, 256))
    assert torch.equal(large[..., ::16, ::16], leak)
    assert torch.equal(large, leak.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3))
    odd = enlarged(leak, (193, 161))
    assert odd.shape == (1, 1, 193, 161)
    assert set(odd.flatten().tolist()) == set(range(256))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"cells": 0}, "cells"), ({"probability": 1.5}, "probability"), ({"decay_per_epoch": -0.1}, "decay_per_epoch")],
)
def test_leaks_that_cannot_be_are_refused(options, words):
    with pytest.raises(InvalidInputError, match=words):
        RemnantFeeding(**options)


def test_each_tag_is_the_target_as_often_as_any_other():
    rng = np.random.default_rng(0)
    drawn = [draw_target_class((2, 7, 20), rng) for _ in range(3000)]
    assert set(drawn) == {1, 6, 19}
    assert np.bincount(drawn)[[1, 6, 19]] / 3000 == pytest.approx([1 / 3] * 3, abs=0.05)
    assert draw_target_class((), rng) == NO_TARGET


def test_the_targets_cam_is_its_channel_and_without_a_target_nothing():
    cams = torch.rand(3, 4, 2, 2)
    target = torch.tensor([3, NO_TARGET, 0])
    found = of_target(cams, target)
    assert torch.equal(found[0, 0], cams[0, 3])
    assert not found[1].any()
    assert torch.equal(found[2, 0], cams[2, 0])
    assert has_target(target).flatten().tolist() == [True, False, True]
