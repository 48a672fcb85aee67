"""ResNet-38 (A1): sizes from its table, and its forward pass restated with functions alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import EncoderConfig, build_encoder
from models.errors import InvalidInputError

CONFIG = EncoderConfig("resnet38", weights=None, output_stride=8)

# Fact sheet of the released code: block, in, mid, out, repeats, stride of the first, dilation of (first, other) convs.
PLAIN = [
    ("b2", 64, 128, 128, 3, 2, 1, 1),
    ("b3", 128, 256, 256, 3, 2, 1, 1),
    ("b4", 256, 512, 512, 6, 2, 1, 1),
    ("b5", 512, 512, 1024, 3, 1, 1, 2),
]


@pytest.fixture(scope="module")
def encoder():
    """The full network, with BatchNorm that does something."""
    torch.manual_seed(0)
    encoder = build_encoder(CONFIG).eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return encoder


def expected_parameters():
    total = 3 * 64 * 9
    for _, cin, mid, out, repeats, stride, _, _ in PLAIN:
        for index in range(repeats):
            first = cin if index == 0 else out
            total += 9 * first * mid + 9 * mid * out + 2 * first + 2 * mid
            if first != out or (index == 0 and stride > 1):
                total += first * out
    for cin, out in ((1024, 2048), (2048, 4096)):
        quarter, half = out // 4, out // 2
        total += cin * quarter + 9 * quarter * half + half * out + cin * out + 2 * (cin + quarter + half)
    return total + 2 * 4096


def test_parameters_are_those_of_the_table(encoder):
    assert sum(parameter.numel() for parameter in encoder.parameters()) == expected_parameters()


@pytest.mark.parametrize("size", [(375, 500), (281, 500), (448, 448)])
def test_taps_of_a_voc_image(size):
    with torch.device("meta"):
        meta = build_encoder(CONFIG).eval()
        outputs = meta(torch.zeros(1, 3, *size))
    assert [tap.name for tap in meta.taps] == ["b2", "b3", "b4", "b5", "b7"]
    for tap, output, channels in zip(meta.taps, outputs, (128, 256, 512, 1024, 4096), strict=True):
        grid = [-(-side // tap.stride) for side in size]
        assert tap.channels == channels
        assert list(output.shape) == [1, channels, *grid]


def restated(state, image):
    """The network out of its state dict, layer by layer; returns the three taps that PSA reads."""

    def bn(x, name):
        stats = [state[f"net.{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(x, *stats))

    def conv(x, name, stride=1, dilation=1):
        weight = state[f"net.{name}.weight"]
        padding = dilation if weight.shape[-1] == 3 else 0
        return F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation)

    taps = {}
    x = conv(image, "conv1a")
    for group, _, _, _, repeats, stride, first_dilation, dilation in PLAIN:
        for index in range(repeats):
            name = group if index == 0 else f"{group}_{index}"
            step = stride if index == 0 else 1
            head = bn(x, f"{name}.bn_branch2a")
            taps.setdefault(group, head)
            shortcut = conv(head, f"{name}.conv_branch1", step) if index == 0 else x
            y = conv(head, f"{name}.conv_branch2a", step, first_dilation if index == 0 else dilation)
            x = shortcut + conv(bn(y, f"{name}.bn_branch2b1"), f"{name}.conv_branch2b1", 1, dilation)
    for name in ("b6", "b7"):
        head = bn(x, f"{name}.bn_branch2a")
        taps[name] = head
        y = conv(head, f"{name}.conv_branch2a")
        y = conv(bn(y, f"{name}.bn_branch2b1"), f"{name}.conv_branch2b1", 1, 4)
        x = conv(head, f"{name}.conv_branch1") + conv(bn(y, f"{name}.bn_branch2b2"), f"{name}.conv_branch2b2")
    return taps["b5"], taps["b6"], bn(x, "bn7")


@torch.no_grad()
def test_forward_pass_is_the_restated_one(encoder):
    image = torch.randn(1, 3, 40, 24, generator=torch.Generator().manual_seed(1))
    for found, expected in zip(encoder(image)[-3:], restated(encoder.state_dict(), image), strict=True):
        assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_dropout_is_that_of_the_released_code(encoder):
    rates = {name: module.p for name, module in encoder.net.named_modules() if isinstance(module, nn.Dropout2d)}
    assert rates == {"b6.dropout_2b1": 0.3, "b6.dropout_2b2": 0.3, "b7.dropout_2b1": 0.5, "b7.dropout_2b2": 0.5}


def test_one_frozen_stage_is_conv1a_and_b2_and_the_last_holds_bn7(encoder):
    first = {id(parameter) for module in encoder.stage_modules(0) for parameter in module.parameters()}
    names = {name.split(".")[0] for name, parameter in encoder.net.named_parameters() if id(parameter) in first}
    assert names == {"conv1a", "b2", "b2_1", "b2_2"}
    assert encoder.stage_modules(4)[-1] is encoder.net.bn7


def test_gradient_stops_behind_the_frozen_stage(encoder):
    encoder.zero_grad()
    encoder(torch.randn(1, 3, 16, 16), detach_after=1)[-1].sum().backward()
    assert encoder.net.b2_2.conv_branch2b1.weight.grad is None
    assert encoder.net.b3.conv_branch2a.weight.grad is not None
    encoder.zero_grad()


def test_every_batch_norm_parameter_is_listed_once(encoder):
    listed = [id(parameter) for parameter in encoder.batch_norm_parameters()]
    wanted = [id(parameter) for name, parameter in encoder.named_parameters() if "bn" in name]
    assert sorted(listed) == sorted(wanted)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (EncoderConfig("resnet38", None, output_stride=16), "output stride 8"),
        (EncoderConfig("resnet38", "imagenet", output_stride=8), "convert-weights"),
        (EncoderConfig("vgg16_largefov", "imagenet", output_stride=8), "convert-weights"),
    ],
)
def test_what_cannot_be_built_is_refused(config, words):
    with pytest.raises(InvalidInputError, match=words):
        build_encoder(config)
