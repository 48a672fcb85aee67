"""The modified cross-entropy against the equations written out pixel by pixel."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.classifiers.isim_losses import has_object, modified_cross_entropy


def plain_loss(logits_CHW, label_HW):
    """Equations 1 to 3 for one image, in loops: the loss of every pixel, 0 where it is ignored."""
    num_classes, height, width = logits_CHW.shape
    total = sum(int(a) for a in label_HW.flatten() if a != 255)
    r = 1.0 if total > 0 else 0.0
    losses = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            if label_HW[y, x] == 255:
                continue
            scores = [r * float(logits_CHW[c, y, x]) for c in range(num_classes)]
            losses[y, x] = math.log(sum(math.exp(score) for score in scores)) - scores[int(label_HW[y, x])]
    return losses


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31 - 1), st.booleans(), st.booleans())
def test_it_is_the_equations_written_out(seed, first_is_empty, with_ignored):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, 5, 4, 3, generator=generator)
    label = torch.randint(0, 5, (3, 4, 3), generator=generator)
    if first_is_empty:
        label[0] = 0
    if with_ignored:
        label[torch.rand(label.shape, generator=generator) < 0.3] = 255
    found = modified_cross_entropy(logits, label.to(torch.uint8))
    for b in range(3):
        assert torch.allclose(found[b], plain_loss(logits[b], label[b]), atol=1e-4)


def test_a_mask_without_objects_adds_a_constant_to_the_mean_and_no_gradient():
    torch.manual_seed(0)
    logits = torch.randn(2, 21, 6, 5, requires_grad=True)
    label = torch.zeros(2, 6, 5, dtype=torch.uint8)
    label[1, 2:4, 1:3] = 7
    loss = modified_cross_entropy(logits, label).mean()
    normal = F.cross_entropy(logits[1:], label[1:].long(), reduction="sum")
    assert float(loss) == pytest.approx((30 * math.log(21) + float(normal)) / 60, rel=1e-6)
    loss.backward()
    assert not logits.grad[0].any()
    assert logits.grad[1].abs().sum() > 0


def test_only_classes_above_the_background_are_objects():
    label = torch.tensor([[[0, 0]], [[0, 255]], [[255, 255]], [[3, 0]], [[20, 255]]])
    assert has_object(label).tolist() == [False, False, False, True, True]


def test_the_loss_does_not_change_with_logits_of_empty_masks():
    label = torch.zeros(1, 3, 3, dtype=torch.uint8)
    small, large = (modified_cross_entropy(scale * torch.randn(1, 4, 3, 3), label) for scale in (0.1, 50.0))
    assert torch.allclose(small, torch.full((1, 3, 3), math.log(4.0)))
    assert torch.equal(small, large)
