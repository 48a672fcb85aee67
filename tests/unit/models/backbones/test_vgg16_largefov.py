"""VGG-16 LargeFOV: sizes, its forward pass restated, and what the input looks like."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.backbones import EncoderConfig, build_encoder

CONFIG = EncoderConfig("vgg16_largefov", weights=None, output_stride=8)
DILATED = EncoderConfig("vgg16_largefov", weights=None, output_stride=8, dilate=True)
WIDTHS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder(CONFIG).eval()


def test_parameters_are_those_of_the_layers(encoder):
    total, channels = 0, 3
    for width in WIDTHS:
        total += 9 * channels * width + width
        channels = width
    total += 9 * 512 * 1024 + 1024 + 1024 * 1024 + 1024
    assert sum(parameter.numel() for parameter in encoder.parameters()) == total


@pytest.mark.parametrize("size", [(375, 500), (448, 448)])
def test_taps_of_a_voc_image(size):
    with torch.device("meta"):
        meta = build_encoder(CONFIG).eval()
        outputs = meta(torch.zeros(1, 3, *size))
    assert [tap.name for tap in meta.taps] == ["conv2", "conv3", "conv4", "conv5", "fc7"]
    for tap, output, channels in zip(meta.taps, outputs, (128, 256, 512, 512, 1024), strict=True):
        assert list(output.shape) == [1, channels, *(-(-side // tap.stride) for side in size)]


def restated(state, x, fc6_dilation):
    """Fact sheet: 3x3 pools with padding 1 and strides 2, 2, 2, 1; conv5 dilated by 2; fc6, fc7 with ReLU."""
    taps = []
    for block, layers in enumerate([2, 2, 3, 3, 3], start=1):
        if block > 1:
            x = F.max_pool2d(x, 3, 1 if block == 5 else 2, 1)
        for layer in range(1, layers + 1):
            name = f"net.conv{block}_{layer}"
            dilation = 2 if block == 5 else 1
            x = F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], 1, dilation, dilation))
        taps.append(x)
    x = F.relu(F.conv2d(x, state["net.fc6.weight"], state["net.fc6.bias"], 1, fc6_dilation, fc6_dilation))
    return [*taps[1:], F.relu(F.conv2d(x, state["net.fc7.weight"], state["net.fc7.bias"]))]


@torch.no_grad()
def test_forward_pass_is_the_restated_one(encoder):
    image = torch.randn(1, 3, 45, 70, generator=torch.Generator().manual_seed(1))
    dilated = build_encoder(DILATED).eval()
    dilated.load_state_dict(encoder.state_dict())  # the same weights: that is how AffinityNet gets them
    for net, dilation in ((encoder, 1), (dilated, 4)):
        for found, expected in zip(net(image), restated(encoder.state_dict(), image, dilation), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)


def test_dropout_stands_between_fc6_and_fc7(encoder):
    names = list(encoder.net._modules)
    assert names[names.index("drop6") - 2 : names.index("drop6") + 2] == ["fc6", "relu6", "drop6", "fc7"]
    assert isinstance(encoder.net.drop6, torch.nn.Dropout2d)
    assert encoder.net.drop6.p == 0.5


def test_one_frozen_stage_is_conv1_and_conv2(encoder):
    kept = {name.split(".")[0] for name, _ in encoder.net.named_parameters()}
    frozen = {name for name in kept if encoder.net._modules[name] in encoder.stage_modules(0)}
    assert frozen == {"conv1_1", "conv1_2", "conv2_1", "conv2_2"}


def test_the_network_gets_blue_first_and_grey_levels_minus_their_means(encoder):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    found = encoder.normalisation(image).numpy()
    for channel, (source, mean) in enumerate(((2, 104.008), (1, 116.669), (0, 122.675))):
        expected = image[..., source].astype(np.float32) - np.float32(mean)
        np.testing.assert_allclose(found[channel], expected, rtol=0, atol=1e-5)


def test_preprocessing_can_be_overridden():
    other = EncoderConfig("vgg16_largefov", None, output_stride=8, normalisation="imagenet")
    with torch.device("meta"):
        encoder = build_encoder(other)
    assert not encoder.normalisation.bgr
