"""Losses against plain numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.errors import InvalidInputError
from models.segmentation.losses import PixelLossConfig, labels_at, pixel_losses

KINDS = ("cross_entropy", "symmetric", "bootstrapped")


def plain(logits_CHW, label_HW, kind):
    """Pixel by pixel, as the papers write them."""
    num_classes, height, width = logits_CHW.shape
    losses = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            if label_HW[y, x] == 255:
                continue
            q = np.exp(logits_CHW[:, y, x] - logits_CHW[:, y, x].max())
            q /= q.sum()
            t = np.eye(num_classes)[label_HW[y, x]]
            cross_entropy = -(t * np.log(q)).sum()
            if kind == "symmetric":  # alpha 0.1, beta 1, log 0 = -4
                log_t = np.where(t > 0, 0.0, -4.0)
                losses[y, x] = 0.1 * cross_entropy + 1.0 * -(q * log_t).sum()
            elif kind == "bootstrapped":  # beta 0.8
                z = np.eye(num_classes)[q.argmax()]
                losses[y, x] = -((0.8 * t + 0.2 * z) * np.log(q)).sum()
            else:
                losses[y, x] = cross_entropy
    return losses


@pytest.mark.parametrize("kind", KINDS)
def test_each_loss_is_its_equation(kind):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 5, 6)).astype(np.float32) * 3
    label = rng.choice([0, 1, 2, 3, 255], size=(2, 5, 6)).astype(np.uint8)
    found = pixel_losses(torch.from_numpy(logits), torch.from_numpy(label), PixelLossConfig(kind=kind))
    expected = np.stack([plain(a, b, kind) for a, b in zip(logits, label, strict=True)])
    assert np.allclose(found.numpy(), expected, atol=1e-5)
    assert not found[torch.from_numpy(label) == 255].any()


def test_cross_entropy_is_torchs():
    logits, label = torch.randn(2, 5, 4, 4), torch.randint(0, 5, (2, 4, 4))
    label[0, 0, 0] = 255
    found = pixel_losses(logits, label, PixelLossConfig()).sum() / (label != 255).sum()
    assert torch.allclose(found, F.cross_entropy(logits, label, ignore_index=255))


@settings(deadline=None)
@given(seed=st.integers(0, 999), kind=st.sampled_from(KINDS), num_classes=st.integers(2, 6))
def test_losses_are_finite_and_ignored_pixels_have_no_gradient(seed, kind, num_classes):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(1, num_classes, 3, 3, generator=generator) * 40).requires_grad_()
    label = torch.randint(0, num_classes, (1, 3, 3), generator=generator)
    label[0, 1] = 255
    losses = pixel_losses(logits, label, PixelLossConfig(kind=kind))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert (losses >= 0).all()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[:, :, 1].any()


def test_a_certain_wrong_label_pulls_less_where_labels_are_distrusted():
    """Where the network is sure and the label says otherwise, the reverse term's gradient vanishes."""
    pulls = {}
    for kind, options in (("cross_entropy", {}), ("symmetric", {"cross_entropy_weight": 0.0}), ("bootstrapped", {})):
        logits = torch.tensor([8.0, -8.0]).view(1, 2, 1, 1).requires_grad_()
        pixel_losses(logits, torch.ones(1, 1, 1), PixelLossConfig(kind=kind, **options)).sum().backward()
        pulls[kind] = float(logits.grad.abs().sum())
    assert pulls["symmetric"] < 1e-3 < pulls["bootstrapped"] < pulls["cross_entropy"]
    assert pulls["bootstrapped"] == pytest.approx(0.8 * pulls["cross_entropy"], rel=1e-3)


@pytest.mark.parametrize(("size", "grid"), [(321, 41), (8, 4), (5, 5), (3, 7)])
def test_labels_are_reduced_by_pixel_centres(size, grid):
    label = torch.arange(size * size).view(1, size, size)
    centres = np.floor((np.arange(grid) + 0.5) * size / grid).astype(int)
    expected = label[0].numpy()[np.ix_(centres, centres)]
    assert np.array_equal(labels_at(label, torch.Size((grid, grid)))[0].numpy(), expected)


def test_bad_settings_are_refused():
    for options in ({"log_zero": 0.0}, {"label_trust": 0.0}):
        with pytest.raises(InvalidInputError, match="log_zero must be negative"):
            PixelLossConfig(**options)
