"""AffinityNet's loss against a loop over pairs, its properties, and values worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.affinity.affinitynet_losses import affinitynet_losses
from models.affinity.pixel_pairs import half_plane_offsets
from models.errors import InvalidInputError


def plain_losses(features, label, radius):
    """PSA's definition, pair by pair in Python floats: (background, foreground, negative)."""
    batch, channels, height, width = features.shape
    terms = {"bg": [], "fg": [], "neg": []}
    for n in range(batch):
        for y in range(height - radius + 1):
            for x in range(radius - 1, width - radius + 1):
                for dy, dx in half_plane_offsets(radius):
                    here, there = int(label[n, y, x]), int(label[n, y + dy, x + dx])
                    if 255 in (here, there):
                        continue
                    gaps = [abs(float(features[n, c, y, x] - features[n, c, y + dy, x + dx])) for c in range(channels)]
                    a = math.exp(-sum(gaps) / channels)
                    if here != there:
                        terms["neg"].append(-math.log(1 + 1e-5 - a))
                    else:
                        terms["bg" if here == 0 else "fg"].append(-math.log(a + 1e-5))
    return [sum(values) / (len(values) + 1e-5) for values in terms.values()]


def random_problem(seed, channels=6, height=8, width=11):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
    label = torch.tensor([0, 0, 1, 2, 255])[torch.randint(0, 5, (2, height, width), generator=generator)]
    return features, label


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_losses_equal_the_loop_over_pairs(radius):
    features, label = random_problem(radius)
    losses = affinitynet_losses(features, label, radius)
    background, foreground, negative = plain_losses(features, label, radius)
    assert float(losses.background) == pytest.approx(background, rel=1e-6)
    assert float(losses.foreground) == pytest.approx(foreground, rel=1e-6)
    assert float(losses.negative) == pytest.approx(negative, rel=1e-6)
    assert float(losses.total) == pytest.approx(background / 4 + foreground / 4 + negative / 2, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-3, 3))
def test_neither_the_order_nor_an_offset_of_channels_matters(seed, shift):
    features, label = random_problem(seed)
    order = torch.randperm(features.shape[1], generator=torch.Generator().manual_seed(seed))
    plain = affinitynet_losses(features, label, 3).total
    changed = affinitynet_losses(features[:, order] + shift, label, 3).total
    assert float(changed) == pytest.approx(float(plain), rel=1e-9)


def test_the_names_of_foreground_classes_do_not_matter():
    features, label = random_problem(1)
    renamed = label.clone()
    renamed[label == 1], renamed[label == 2] = 17, 3
    assert float(affinitynet_losses(features, label, 3).total) == float(affinitynet_losses(features, renamed, 3).total)


def test_equal_features_cost_nothing_where_labels_agree_and_the_most_where_not():
    label = torch.zeros(1, 6, 9, dtype=torch.long)
    label[:, :, 5:] = 2
    losses = affinitynet_losses(torch.ones(1, 4, 6, 9), label, 3)
    assert float(losses.background) == pytest.approx(0, abs=2e-5)
    assert float(losses.foreground) == pytest.approx(0, abs=2e-5)
    assert float(losses.negative) == pytest.approx(-math.log(1e-5), rel=2e-3)


def test_training_pulls_like_cells_together_and_others_apart():
    features, label = random_problem(3)
    features.requires_grad_()
    optimiser = torch.optim.SGD([features], lr=50.0)
    first = None
    for _ in range(20):
        loss = affinitynet_losses(features, label, 3).total
        first = float(loss) if first is None else first
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss) < 0.8 * first


def test_nothing_labelled_gives_zero_and_no_nan():
    features = torch.randn(1, 3, 8, 9, requires_grad=True)
    total = affinitynet_losses(features, torch.full((1, 8, 9), 255), 3).total
    total.backward()
    assert float(total.detach()) == 0.0
    assert torch.isfinite(features.grad).all()


def test_a_grid_too_small_for_the_radius_is_refused():
    with pytest.raises(InvalidInputError, match="too small for radius 5"):
        affinitynet_losses(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long), 5)


def test_pairs_of_the_training_grid_are_those_of_the_released_code():
    """448 / 8 = 56: 52 x 48 sources x 34 offsets = 84,864 pairs, all of them unequal in a label of all classes."""
    count = 0
    label = torch.arange(56 * 56).reshape(1, 56, 56) % 254 + 1
    for dy, dx in half_plane_offsets(5):
        source, target = label[:, :52, 4:52], label[:, dy : dy + 52, 4 + dx : 52 + dx]
        count += int((source != target).sum())
    losses = affinitynet_losses(torch.zeros(1, 1, 56, 56, dtype=torch.float64), label, 5)
    assert count == 84_864
    assert float(losses.negative) == pytest.approx(-math.log(1e-5) * count / (count + 1e-5), rel=1e-9)
