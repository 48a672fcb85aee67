"""Every loss of ACR against its equation written out, in both forms; who learns in which turn, and what stays."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.adversarial.loss_forms import LOSS_FORMS, AdversarialLossConfig
from models.adversarial.losses import classification_loss, counted_masked_l1, hard_masks, masked_l1
from models.backbones import EncoderConfig
from models.classifiers.normalised_cam import divided_by_maximum, min_max
from models.errors import InvalidInputError

IMAGES = 3  # of the batch's four, so many have a target


def test_weights_of_both_forms():
    paper, released = LOSS_FORMS["paper"], LOSS_FORMS["released"]
    assert (paper.classification, paper.whole, paper.target, paper.rest) == (0, 0, 0.5, 0.5)
    assert (released.classification, released.whole, released.target, released.rest) == (1.0, 0.2, 0.5, 0.3)
    assert (paper.spoil_target, paper.spoil_rest) == (released.spoil_target, released.spoil_rest) == (0.8, 0.3)
    assert (paper.masks, paper.detach_masks, released.masks, released.detach_masks) == ("soft", False, "hard", True)


def test_single_values_replace_the_forms():
    terms = AdversarialLossConfig("paper", masks="hard", spoil_rest=0.0, detach_masks=True).terms
    assert (terms.masks, terms.spoil_rest, terms.spoil_target, terms.detach_masks) == ("hard", 0.0, 0.8, True)
    with pytest.raises(InvalidInputError, match="spoil_target must not be negative"):
        AdversarialLossConfig(spoil_target=-1.0)
    with pytest.raises(InvalidInputError, match="learn nothing"):
        AdversarialLossConfig(target=0.0, rest=0.0)
    with pytest.raises(InvalidInputError, match="the forms are paper, released"):
        AdversarialLossConfig("papier")


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 9999), scale=st.floats(0.01, 100), height=st.integers(1, 6), width=st.integers(2, 6))
def test_normalised_cams_lie_in_0_to_1_with_an_exact_0_and_a_peak_below_1(seed, scale, height, width):
    """Fact sheet, section 9: the peak is (d - e) / (d + e), the least value exactly 0, on the maps' own grid.

    A hard mask on the image's pixels may still be empty: enlarging spreads its only cell's neighbours over it.
    """
    cam = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed)) * scale
    found = min_max(cam)
    spread = (cam.amax((2, 3)) - cam.amin((2, 3))).numpy().astype(np.float64)
    assert float(found.min()) == 0.0
    assert (found.amin((2, 3)) == 0).all()
    peak = np.maximum(spread - 1e-5, 0) / (spread + 1e-5)
    assert found.amax((2, 3)).numpy() == pytest.approx(peak, abs=1e-4)


def test_normalisation_lets_gradients_through_value_least_and_greatest():
    cam = torch.tensor([[[0.2, 1.0, 0.5]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(min_max, (cam,))
    [gradient] = torch.autograd.grad(min_max(cam)[0, 0, 2], cam)
    assert gradient[0, 0, 0] < 0  # a higher least value lowers the middle one
    assert gradient[0, 0, 1] < 0  # so does a higher peak
    assert gradient[0, 0, 2] > 0


def test_a_class_that_fires_nowhere_is_zero():
    assert not min_max(torch.zeros(1, 2, 2)).any()
    assert not min_max(torch.full((1, 2, 2), 3.0)).any()
    assert not divided_by_maximum(torch.zeros(1, 2, 2)).any()


def test_masked_l1_is_the_mean_over_all_elements():
    rng = np.random.default_rng(0)
    image, made, mask = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5)), rng.random((2, 1, 4, 5))
    total = 0.0
    for b, c, y, x in np.ndindex(2, 3, 4, 5):
        total += abs(mask[b, 0, y, x] * image[b, c, y, x] - mask[b, 0, y, x] * made[b, c, y, x])
    found = masked_l1(*(torch.from_numpy(array) for array in (image, made, mask)))
    assert float(found) == pytest.approx(total / (2 * 3 * 4 * 5), rel=1e-6)


def test_images_that_are_fed_too_little_do_not_count():
    image, made = torch.randn(3, 3, 10, 10), torch.randn(3, 3, 10, 10)
    valid = torch.rand(3, 1, 10, 10)
    fed = torch.stack([torch.full((1, 10, 10), share) for share in (0.5, 0.51, 1.0)])  # sums 50, 51, 100
    found = counted_masked_l1(image, made, valid, fed, 50.0)
    assert float(found) == pytest.approx(float(masked_l1(image[1:], made[1:], valid[1:])))
    made.requires_grad_()
    none = counted_masked_l1(image, made, valid, fed, 1000.0)
    none.backward()
    assert float(none.detach()) == 0.0
    assert not made.grad.any()


def test_classification_loss_is_the_soft_margin_loss():
    """Fact sheet, section 0, number 10."""
    logits, labels = torch.randn(2, 4, 5), torch.randint(0, 2, (4, 5)).float()
    expected = np.mean([float(F.multilabel_soft_margin_loss(head, labels)) for head in logits])
    assert float(classification_loss(logits, labels)) == pytest.approx(expected, rel=1e-6)


def test_hard_masks_cell_by_cell():
    cam = torch.tensor([[[[0.0, 0.3], [0.7, 0.0]]]])
    signed = torch.tensor([[[[5.0, 1.0], [2.0, -1.0]], [[0.0, 3.0], [1.0, -2.0]]]])
    target, rest = hard_masks(cam, signed, torch.tensor([0]))
    assert target.tolist() == [[[[1.0, 0.0], [0.0, 1.0]]]]
    assert torch.equal(rest, torch.tensor([[[[0.0, 0.0], [0.7, 0.0]]]]))  # at (0, 1) class 1 is higher


def up(x, size, mode="bilinear"):
    return F.interpolate(x, size=size, mode=mode, **({} if mode == "nearest" else {"align_corners": False}))


def target_cam(signed, batch, size):
    """Fact sheet 2.3, image by image: ReLU, least and greatest, tags, enlarged."""
    cams = []
    for maps, target in zip(signed, batch.target.tolist(), strict=True):
        raw = maps[target].clamp_min(0) if target >= 0 else torch.zeros_like(maps[0])
        low, high = raw.min(), raw.max()
        cams.append(((raw - low - 1e-5).clamp_min(0) / (high - low + 1e-5))[None])
    return up(torch.stack(cams), size)


def joined(reconstructor, images, size):
    """Fact sheet 2.5: 1x1 convolutions on the last taps, at the grid of the finest of them, then the masks' size."""
    taps = reconstructor.encoder(images)[-3:]
    reduced = [F.conv2d(tap, layer.weight) for tap, layer in zip(taps, reconstructor.reduce, strict=True)]
    return up(torch.cat([up(x, reduced[0].shape[2:]) for x in reduced], dim=1), size)


def without_dropout(pair):
    for module in pair.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return pair


@pytest.mark.parametrize("masking", ["image", "grid"])
@pytest.mark.parametrize("form", ["paper", "released"])
@torch.no_grad()
def test_the_reconstructors_loss_is_equations_5_to_10(pair, batch, form, masking):
    model = without_dropout(pair(form, masking))
    net, image, size = model.reconstructor, batch.images, batch.images.shape[2:]
    grid = size if masking == "image" else (-(-size[0] // 8), -(-size[1] // 8))
    signed = model.classifier(image)[0]
    cam, leak = target_cam(signed, batch, size), up(batch.leak, size, "nearest")
    small_cam, small_leak = target_cam(signed, batch, grid), up(batch.leak, grid, "nearest")
    features = joined(net, image, grid)
    from_target = net.decoder(small_cam * features + small_leak * (1 - small_cam) * features, tuple(size))
    from_rest = net.decoder((1 - small_cam) * features + small_leak * small_cam * features, tuple(size))
    has = (batch.target >= 0).view(-1, 1, 1, 1)
    l_target = ((1 - cam) * (1 - leak) * has * (image - from_target)).abs().mean()
    l_rest = (cam * (1 - leak) * has * (image - from_rest)).abs().mean()
    expected = 0.5 * l_target + (0.5 if form == "paper" else 0.3) * l_rest
    if form == "released":
        logits = net.head(net.encoder(image)[-1]).mean((2, 3))
        expected += F.binary_cross_entropy_with_logits(logits, batch.labels)
        expected += 0.2 * (image - net.decoder(features, tuple(size))).abs().mean()
    found = model.reconstructor_losses(net, batch)
    assert float(found["loss"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(found["target"]) == pytest.approx(float(l_target), rel=1e-4)
    assert float(found["rest"]) == pytest.approx(float(l_rest), rel=1e-4)
    assert set(found) == {"loss", "target", "rest"} | ({"whole", "classification"} if form == "released" else set())


@pytest.mark.parametrize("masking", ["image", "grid"])
@pytest.mark.parametrize("masks", ["soft", "hard"])
@torch.no_grad()
def test_the_classifiers_loss_is_equations_11_to_14(pair, batch, masks, masking):
    model = pair("released", masking, masks=masks)
    net, image, size = model.reconstructor, batch.images, batch.images.shape[2:]
    grid = size if masking == "image" else (-(-size[0] // 8), -(-size[1] // 8))
    signed = model.classifier(image)[0]
    cam, small_cam = target_cam(signed, batch, size), target_cam(signed, batch, grid)
    net.eval()
    features = joined(net, image, grid)
    from_target, from_rest = (net.decoder(part * features, tuple(size)) for part in (small_cam, 1 - small_cam))
    net.train()
    has = (batch.target >= 0).view(-1, 1, 1, 1)
    v_target, v_rest = (1 - cam) * has, cam * has
    if masks == "hard":
        best = up(signed, size).argmax(1)
        v_target = (cam == 0) * has
        v_rest = cam * (best == batch.target.view(-1, 1, 1))[:, None] * has
    spoilt_target = (v_target * (image - from_target)).abs().mean()
    spoilt_rest = (v_rest * (image - from_rest)).abs().mean()
    on_tags = F.binary_cross_entropy_with_logits(signed.mean((2, 3)), batch.labels)
    found = model.classifier_losses(model.classifier, batch)
    assert float(found["loss"]) == pytest.approx(float(on_tags - 0.8 * spoilt_target - 0.3 * spoilt_rest), rel=1e-4)
    assert float(found["spoilt_target"]) == pytest.approx(float(spoilt_target), rel=1e-4)
    assert float(found["spoilt_rest"]) == pytest.approx(float(spoilt_rest), rel=1e-4)


def snapshot(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(network, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("train_batch_norm", [False, True])
@pytest.mark.parametrize("turn", ["classifier", "reconstructor"])
def test_a_turn_changes_its_own_network_alone(pair, batch, turn, train_batch_norm):
    """Bit by bit: weights, and the statistics of BatchNorm, even where they follow the batches."""
    model = pair()
    for network in (model.classifier, model.reconstructor):
        network.encoder.trains_batch_norm = train_batch_norm
        network.train()
    acting, other = getattr(model, turn), getattr(model, {"classifier": "reconstructor"}.get(turn, "classifier"))
    before, others = snapshot(acting), snapshot(other)
    losses = getattr(model, f"{turn}_losses")(acting, batch)
    losses["loss"].backward()
    assert all(parameter.grad is None for parameter in other.parameters())
    assert all(parameter.grad is not None for parameter in acting.parameters())
    torch.optim.SGD(acting.parameters(), lr=0.1).step()
    assert same(other, others)
    assert not same(acting, before)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_dropout_is_off_in_the_network_whose_turn_it_is_not(pair, batch):
    model = pair()
    first, second = (model.classifier_losses(model.classifier, batch)["spoilt_target"] for _ in range(2))
    assert torch.equal(first, second)  # the classifier here has no dropout; the U-Net has
    drawn = [model.reconstructor_losses(model.reconstructor, batch)["target"] for _ in range(2)]
    assert not torch.equal(*drawn)  # in its own turn it is on


def test_whole_reconstruction_teaches_the_decoder_alone(pair, batch):
    model = pair("released", classification=0.0)
    losses = model.reconstructor_losses(model.reconstructor, batch)
    losses["whole"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.reconstructor.encoder.parameters())
    assert all(p.grad is None or not p.grad.any() for p in model.reconstructor.reduce.parameters())
    assert all(p.grad is not None for p in model.reconstructor.decoder.parameters())


@pytest.mark.parametrize(("masks", "detach"), [("soft", False), ("soft", True), ("hard", True)])
def test_the_gradient_reaches_the_class_maps_through_the_features_and_attached_masks(pair, batch, masks, detach):
    """With constant reconstructions only the mask can carry a gradient."""
    model = pair("released", masks=masks, detach_masks=detach)
    signed = torch.randn(4, 3, 6, 5, requires_grad=True)

    class Deaf(torch.nn.Module):
        def features(self, images):
            return torch.zeros(1)

        def mask_size(self, size):
            return size

        def draw(self, features, fed, size):
            return torch.zeros_like(batch.images), torch.zeros_like(batch.images)

    target, rest = model._spoilt(Deaf(), signed, batch)
    assert (target + rest).requires_grad is not detach
    target, rest = model._spoilt(model.reconstructor, signed, batch)
    [gradient] = torch.autograd.grad(target + rest, signed)
    chosen = [gradient[index, channel].abs().sum() > 0 for index, channel in enumerate(batch.target[:IMAGES])]
    assert all(chosen)
    gradient[torch.arange(IMAGES), batch.target[:IMAGES]] = 0
    assert not gradient.any()  # no other class, and nothing of the image without a target


def test_a_step_of_the_classifier_spoils_the_reconstruction(pair, batch):
    model = pair("released", spoil_rest=0.0)
    weights = list(model.classifier.heads.parameters())
    before = model.classifier_losses(model.classifier, batch)
    gradients = torch.autograd.grad(before["spoilt_target"], weights)
    with torch.no_grad():
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.add_(gradient, alpha=float(0.01 / norm))  # up the error, as minimising its negative does
    after = model.classifier_losses(model.classifier, batch)
    assert after["spoilt_target"] > before["spoilt_target"]


def test_without_an_adversary_the_classifier_learns_from_tags_alone(pair, batch):
    model = pair()
    model.reconstructor = None
    expected = F.binary_cross_entropy_with_logits(model.classifier(batch.images)[0].mean((2, 3)), batch.labels)
    losses = model.classifier_losses(model.classifier, batch)
    assert set(losses) == {"loss"}
    assert torch.equal(losses["loss"], expected)


def test_an_aligned_grid_is_enlarged_from_corner_to_corner(pair, batch):
    aligned = EncoderConfig("mobilenet_v2", None, 16, dilate=True, size_multiple=32, size_offset=1)
    model = pair(encoder=aligned)
    x = torch.rand(1, 1, 3, 4)
    assert torch.equal(model._resized(x, (33, 49))[..., ::16, ::16], x)
