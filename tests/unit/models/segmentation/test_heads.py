"""Heads against plain convolutions, torchvision's modules and the parameter counts of the papers."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead

from models.backbones import EncoderConfig, Tap, build_encoder
from models.errors import InvalidInputError
from models.segmentation import DeepLabConfig
from models.segmentation.aspp import Pyramid, SummedPyramid
from models.segmentation.heads import build_head
from models.segmentation.layers import LayerStyle, conv_norm_relu

RESNET_TAPS = [Tap(64, 2), Tap(256, 4), Tap(512, 8), Tap(1024, 16), Tap(2048, 16)]


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def plain_atrous(x_BChw, weight, rate):
    """A 3 x 3 convolution of that dilation, as a sum over its nine shifted inputs."""
    height, width = x_BChw.shape[2:]
    padded = F.pad(x_BChw, (rate, rate, rate, rate))
    total = 0
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i * rate : i * rate + height, j * rate : j * rate + width]
            total = total + torch.einsum("bchw,oc->bohw", window, weight[:, :, i, j])
    return total


def test_the_summed_pyramid_is_the_sum_of_atrous_convolutions():
    torch.manual_seed(0)
    head = SummedPyramid(5, 4, (1, 2, 6))
    for branch in head.branches:
        torch.nn.init.normal_(branch.bias)
    x = torch.randn(2, 5, 9, 11)
    expected = sum(
        plain_atrous(x, branch.weight, rate) + branch.bias[None, :, None, None]
        for branch, rate in zip(head.branches, (1, 2, 6), strict=True)
    )
    assert torch.allclose(head(x), expected, atol=1e-5)


def test_deeplab_v2_starts_as_released():
    torch.manual_seed(0)
    head = SummedPyramid(2048, 21, (6, 12, 18, 24))
    assert [branch.dilation for branch in head.branches] == [(6, 6), (12, 12), (18, 18), (24, 24)]
    for branch in head.branches:
        assert branch.weight.detach().std() == pytest.approx(0.01, rel=0.02)
        assert not branch.bias.any()


@pytest.mark.parametrize("rate", [1, 3, 6])
def test_a_branch_sees_as_far_as_its_dilation(rate):
    branch = SummedPyramid(1, 2, (rate,))
    x = torch.zeros(1, 1, 21, 21, requires_grad=True)
    branch(x)[0, 0, 10, 10].backward()
    seen = torch.nonzero(x.grad[0, 0])
    assert sorted({int(index) for index in seen[:, 0]}) == [10 - rate, 10, 10 + rate]
    assert len(seen) == 9


def test_the_pyramid_is_torchvisions():
    torch.manual_seed(0)
    reference = ASPP(16, [2, 4], out_channels=8).eval()
    own = Pyramid(16, 8, (2, 4), 0.5, LayerStyle("batch")).eval()
    own.load_state_dict(reference.state_dict())
    x = torch.randn(2, 16, 12, 9)
    assert torch.allclose(own(x), reference(x), atol=1e-6)


def test_the_v3_head_is_torchvisions():
    torch.manual_seed(0)
    reference = DeepLabHead(16, 21, (12, 24, 36)).eval()
    config = DeepLabConfig(head="v3", rates=(12, 24, 36), head_norm="batch", head_dropout=0.5)
    own = build_head([Tap(8, 4), Tap(16, 8)], 21, config).eval()
    own.load_state_dict(reference.state_dict())
    x = torch.randn(1, 16, 12, 9)
    assert torch.allclose(own([x, x]), reference(x), atol=1e-6)


def test_the_v3plus_decoder_has_the_parameters_of_isims():
    """ISIM's decoder has 16,253,813, with one 3 x 3 convolution behind the skip; ours has Chen et al.'s two."""
    head = build_head(RESNET_TAPS, 21, DeepLabConfig(head_norm="batch"))
    second = num_parameters(head.decoder[1])
    assert second == 256 * 256 * 9 + 2 * 256
    assert num_parameters(head) - second == 16_253_813


def test_a_separable_convolution_is_a_depthwise_and_a_pointwise_one():
    torch.manual_seed(0)
    layer = conv_norm_relu(4, 8, 3, LayerStyle("group", separable=True), dilation=2)
    depthwise, pointwise, norm, _ = layer
    x = torch.randn(1, 4, 8, 8)
    each = [plain_atrous(x[:, c : c + 1], depthwise.weight[c : c + 1], 2) for c in range(4)]
    mixed = torch.einsum("bchw,oc->bohw", torch.cat(each, dim=1), pointwise.weight[:, :, 0, 0])
    assert torch.allclose(layer(x), F.relu(norm(mixed)), atol=1e-5)


def test_largefov_sees_two_dilated_convolutions_on_the_last_tap():
    head = build_head([Tap(8, 4), Tap(16, 8)], 5, DeepLabConfig(head="largefov", rates=(12,), head_channels=8))
    x = torch.zeros(1, 16, 61, 61, requires_grad=True)
    torch.nn.init.constant_(head[0].bias, 1.0)  # ReLU lets the gradient through
    head([x, x])[0, 0, 30, 30].backward()
    rows = {int(index) for index in torch.nonzero(x.grad[0].abs().sum(0))[:, 0]}
    assert rows == {30 - 24, 30 - 12, 30, 30 + 12, 30 + 24}
    assert not head[2].bias.any()


def test_v3plus_needs_a_tap_at_stride_4():
    with pytest.raises(InvalidInputError, match="stride 4"):
        build_head([Tap(8, 8), Tap(16, 8)], 5, DeepLabConfig())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rates": ()}, "rates"),
        ({"head": "largefov"}, "one dilation"),
        ({"head_channels": 30}, "multiples of 4"),
        ({"head_dropout": 1.0}, "head_dropout"),
        ({"training_scales": (0.0,)}, "training_scales"),
    ],
)
def test_bad_settings_are_refused(options, words):
    with pytest.raises(InvalidInputError, match=words):
        DeepLabConfig(**options)


def test_drn_d_has_the_published_size_strides_and_dilations():
    encoder = build_encoder(EncoderConfig("drn_d_54", None, output_stride=8)).eval()
    classifier = 512 * 1000 + 1000
    assert num_parameters(encoder) + classifier == pytest.approx(35.8e6, rel=1e-3)  # Yu et al., table of models
    with torch.no_grad():
        taps = encoder(torch.zeros(1, 3, 65, 49))
    assert [tuple(tap.shape[1:]) for tap in taps] == [
        (32, 33, 25),
        (256, 17, 13),
        (512, 9, 7),
        (1024, 9, 7),
        (512, 9, 7),
    ]
    dilations = {name: encoder.net.get_submodule(name).dilation[0] for name in ("layer5.0.conv2", "layer6.2.conv2")}
    assert dilations == {"layer5.0.conv2": 2, "layer6.2.conv2": 4}
    assert encoder.net.layer7[0].dilation == (2, 2)


def test_weights_that_no_library_offers_are_refused():
    for name, output_stride in (("drn_d_105", 8), ("timm/resnet10t", 16), ("mobilenet_v2", 16)):
        with pytest.raises(InvalidInputError, match=r"(?i)coco"):
            build_encoder(EncoderConfig(name, "coco", output_stride))
