"""AffinityNet: its published sizes, its features restated cell by cell, and what of it learns at which rate."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.affinity.affinitynet import AffinityNet, AffinityNetConfig, build_affinitynet
from models.affinity.affinitynet_inference import affinity_features
from models.backbones import EncoderConfig, build_encoder
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule

SMALL = EncoderConfig("resnet18", weights=None, output_stride=8, dilate=True)
COARSE = EncoderConfig("resnet18", weights=None, output_stride=16)
ALIGNED = EncoderConfig("resnet18", weights=None, output_stride=8, dilate=True, size_multiple=32, size_offset=1)
RESNET38 = AffinityNetConfig(EncoderConfig("resnet38", None, output_stride=8))
VGG16 = AffinityNetConfig(EncoderConfig("vgg16_largefov", None, output_stride=8, dilate=True), group_norm=True)
PSA_BIASES = BiasRule(lr_factor=2.0, decay=False)


def affinitynet(encoder=SMALL, **options):
    torch.manual_seed(0)
    return build_affinitynet(AffinityNetConfig(encoder, **options)).eval()


@pytest.mark.parametrize(
    ("config", "taps", "norms"), [(RESNET38, (512, 1024, 4096), 0), (VGG16, (512, 512, 1024), 2 * 448)]
)
def test_new_layers_have_the_published_sizes(config, taps, norms):
    with torch.device("meta"):
        model = build_affinitynet(config).eval()
        features = model(torch.zeros(1, 3, 448, 448))
    assert features.shape == (1, 448, 56, 56)
    new = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("encoder."))
    assert new == taps[0] * 64 + taps[1] * 128 + taps[2] * 256 + 448 * 448 + norms


def elu(value):
    return value if value > 0 else math.exp(value) - 1


@pytest.mark.parametrize("group_norm", [False, True])
def test_features_equal_loops_over_cells_and_channels(group_norm):
    model = affinitynet(group_norm=group_norm)
    generator = torch.Generator().manual_seed(1)
    for norm in model.norms:
        for parameter in norm.parameters():
            nn.init.uniform_(parameter, 0.5, 1.5)
    taps = [torch.randn(1, c, 2, 3, generator=generator) for c in (64, 64, 128, 256, 512)]
    found = model.features(taps)[0].detach().double().numpy()
    reduced = []
    for tap, conv, norm, groups in zip(taps[-3:], model.f8, model.norms, (8, 16, 32), strict=True):
        weight = conv.weight.detach().double().numpy()[:, :, 0, 0]
        x = np.einsum("oc,cyx->oyx", weight, tap[0].double().numpy())
        if group_norm:
            size = len(x) // groups
            for start in range(0, len(x), size):
                part = x[start : start + size]
                x[start : start + size] = (part - part.mean()) / math.sqrt(part.var() + 1e-5)
            scale, shift = (p.detach().double().numpy() for p in norm.parameters())
            x = x * scale[:, None, None] + shift[:, None, None]
        reduced.append(x)
    last = model.f9.weight.detach().double().numpy()[:, :, 0, 0]
    for y in range(2):
        for x in range(3):
            cell = [elu(float(value)) for maps in reduced for value in maps[:, y, x]]
            assert len(cell) == 448
            for channel in (0, 63, 64, 200, 447):
                expected = elu(sum(float(w) * v for w, v in zip(last[channel], cell, strict=True)))
                assert found[channel, y, x] == pytest.approx(expected, abs=1e-4)


def test_features_stay_above_minus_one_and_coarse_taps_come_to_stride_8():
    image = torch.randn(1, 3, 72, 104, generator=torch.Generator().manual_seed(2))
    for encoder in (SMALL, COARSE):
        features = affinitynet(encoder)(image)
        assert features.shape == (1, 448, 9, 13)
        assert float(features.detach().min()) >= -1.0


def test_new_layers_start_as_published():
    model = affinitynet()
    for conv in model.f8:  # Kaiming normal: variance 2 / fan_in
        assert float(conv.weight.detach().std()) == pytest.approx(math.sqrt(2 / conv.in_channels), rel=0.05)
    bound = 4 * math.sqrt(6 / (448 + 448))  # Xavier uniform with gain 4
    assert float(model.f9.weight.detach().abs().max()) == pytest.approx(bound, rel=1e-3)
    assert float(model.f9.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_encoder_learns_but_for_its_first_stage_and_batch_norm():
    model = affinitynet(group_norm=True).train()
    assert all(not m.training for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d))
    groups = model.parameter_groups(0.1, 1.0, PSA_BIASES)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_lr = {group["lr"]: {names[id(p)] for p in group["params"]} for group in groups}
    assert set(by_lr) == {0.1, 0.2, 1.0}  # the new convolutions have no bias, so there is no x20
    assert by_lr[1.0] == {"f8.0.weight", "f8.1.weight", "f8.2.weight", "f9.weight"}
    assert {name for name in by_lr[0.2] if name.startswith("norms")} == {f"norms.{i}.bias" for i in range(3)}
    trained = set().union(*by_lr.values())
    assert not any("bn" in name or "downsample.1" in name for name in trained)
    assert "encoder.net.conv1.weight" not in trained
    assert "encoder.net.layer1.0.conv1.weight" in trained
    [biases] = [group for group in groups if group["lr"] == 0.2]
    assert biases["weight_decay"] == 0.0
    model(torch.randn(1, 3, 64, 64)).sum().backward()
    assert model.encoder.net.conv1.weight.grad is None
    assert model.encoder.net.get_submodule("layer1.0.conv1").weight.grad is not None


@pytest.mark.parametrize("size", [(33, 47), (40, 64), (75, 101)])
def test_inference_pads_the_normalised_image_with_zeros_to_multiples_of_8(size):
    model = affinitynet()
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    height, width = (-(-side // 8) * 8 for side in size)
    padded = F.pad(model.encoder.normalisation(image), (0, width - size[1], 0, height - size[0]))
    with torch.no_grad():
        expected = model(padded[None])[0]
    found = affinity_features(model, image)
    assert found.shape == (448, height // 8, width // 8)
    assert torch.equal(found, expected)


def test_an_encoder_with_a_size_rule_pads_by_it():
    model = affinitynet(ALIGNED)
    image = np.random.default_rng(2).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = model(F.pad(model.encoder.normalisation(image), (0, 7, 0, 5))[None])[0]
    assert expected.shape == (448, 9, 13)
    assert torch.equal(affinity_features(model, image), expected[:, :8, :12])


def test_an_encoder_without_a_third_tap_from_the_end_at_stride_8_is_refused():
    encoder = build_encoder(COARSE)
    encoder.taps = encoder.taps[:-1]
    with pytest.raises(InvalidInputError, match="the first of them at stride 8"):
        AffinityNet(encoder, AffinityNetConfig())
    with pytest.raises(InvalidInputError, match="frozen_stages"):
        AffinityNetConfig(frozen_stages=5)
