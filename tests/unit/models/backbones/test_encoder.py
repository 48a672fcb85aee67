"""Encoders: taps, strides, weights and their errors."""

import pytest
import torch
import torchvision

from models.backbones import EncoderConfig, build_encoder
from models.errors import InvalidInputError


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", [64, 64, 128, 256, 512]),
        ("mobilenet_v2", [16, 24, 32, 96, 1280]),
        ("timm/resnet10t", [64, 64, 128, 256, 512]),
        ("timm/mobilenetv3_small_050", [16, 8, 16, 24, 288]),
    ],
)
@pytest.mark.parametrize("dilate", [False, True])
def test_taps_have_the_announced_channels_and_strides(name, channels, dilate):
    encoder = build_encoder(EncoderConfig(name, weights=None, output_stride=16, dilate=dilate)).eval()
    outputs = encoder(torch.zeros(1, 3, 97, 65))
    assert [tap.channels for tap in encoder.taps] == channels
    assert [tap.stride for tap in encoder.taps] == [2, 4, 8, 16, 16]
    for tap, output in zip(encoder.taps, outputs, strict=True):
        assert output.shape[1:] == (tap.channels, 96 // tap.stride + 1, 64 // tap.stride + 1)


def test_resnet50_of_irn_loses_a_stride_and_gains_no_dilation():
    encoder = build_encoder(EncoderConfig("resnet50", weights=None, output_stride=16, dilate=False))
    last = encoder.net.get_submodule("layer4")
    convolutions = [module for module in last.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(conv.stride == (1, 1) and conv.dilation == (1, 1) for conv in convolutions)
    assert [tap.channels for tap in encoder.taps] == [64, 256, 512, 1024, 2048]


def test_vgg16_at_stride_8_keeps_a_pooling_window_and_its_grid():
    """Group-wise learning's released VGG-16: pool4 is 3 x 3 with stride 1 and padding 1, conv5 dilated by 2."""
    encoder = build_encoder(EncoderConfig("vgg16", weights=None, output_stride=8, dilate=True)).eval()
    pools = [module for module in encoder.net.modules() if isinstance(module, torch.nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride, pool.padding) for pool in pools[:4]] == [(2, 2, 0)] * 3 + [(3, 1, 1)]
    assert encoder(torch.zeros(1, 3, 224, 224))[-1].shape == (1, 512, 28, 28)
    conv5 = [module for module in encoder.net.modules() if isinstance(module, torch.nn.Conv2d)][-3:]
    assert [conv.dilation for conv in conv5] == [(2, 2)] * 3


@pytest.mark.parametrize("output_stride", [8, 16])
def test_resnest_pools_where_its_strides_were_taken_away(output_stride):
    """The released code pools in the first block of layers 2 to 4, whatever its stride."""
    encoder = build_encoder(EncoderConfig("timm/resnest14d", weights=None, output_stride=output_stride))
    strides = []
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        block = encoder.net.get_submodule(layer)[0]
        assert block.avd_first is None
        strides.append(None if block.avd_last is None else block.avd_last.stride)
        assert block.avd_last is None or (block.avd_last.kernel_size, block.avd_last.padding) == (3, 1)
    assert strides == [None, 2, 2 if output_stride == 16 else 1, 1]


def test_resnest_computes_what_it_was_pretrained_on_in_every_second_cell():
    strided, dense = (
        build_encoder(EncoderConfig("timm/resnest14d", weights=None, output_stride=stride)).eval()
        for stride in (32, 16)
    )
    dense.load_state_dict(strided.state_dict())
    features = torch.randn(1, 1024, 8, 10, generator=torch.Generator().manual_seed(0))
    coarse, fine = (encoder.net.get_submodule("layer4")[0](features) for encoder in (strided, dense))
    assert torch.allclose(coarse, fine[:, :, ::2, ::2], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("test_vit", [16, 16, 16]),  # if it is not told otherwise, for images of one size
        ("test_mambaout", [4, 8, 16, 32]),  # [B, h, w, C] within, as Swin
        ("pvt_v2_b0", [4, 8, 16, 32]),
    ],
)
def test_networks_of_one_stride_are_taken_at_theirs(name, strides):
    encoder = build_encoder(EncoderConfig(f"timm/{name}", weights=None, output_stride=strides[-1])).eval()
    assert [tap.stride for tap in encoder.taps] == strides
    for tap, output in zip(encoder.taps, encoder(torch.zeros(1, 3, 64, 96)), strict=True):
        assert output.shape[1:] == (tap.channels, 64 // tap.stride, 96 // tap.stride)


def test_dilated_network_samples_the_full_network_on_its_own_grid():
    """À trous: at stride 16, every second cell is what the stride-32 network computes, away from borders."""
    config = EncoderConfig("resnet18", weights=None, output_stride=32)
    strided = build_encoder(config).eval()
    dilated = build_encoder(EncoderConfig("resnet18", weights=None, output_stride=16, dilate=True)).eval()
    dilated.load_state_dict(strided.state_dict())
    image = torch.randn(1, 3, 1025, 33 * 8 + 1, generator=torch.Generator().manual_seed(0))
    coarse, fine = strided(image)[-1], dilated(image)[-1]
    assert torch.allclose(coarse[:, :, 8:24, 3:6], fine[:, :, ::2, ::2][:, :, 8:24, 3:6], atol=1e-4)


def test_weights_of_the_library_load_strictly_and_give_its_features(tmp_path):
    torch.manual_seed(0)
    reference = torchvision.models.mobilenet_v2().eval()
    torch.save(reference.state_dict(), tmp_path / "weights.pt")
    encoder = build_encoder(EncoderConfig("mobilenet_v2", str(tmp_path / "weights.pt"), output_stride=32)).eval()
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(encoder(image)[-1], reference.features(image))


def test_timm_weights_load_from_a_file(tmp_path):
    import timm

    torch.manual_seed(0)
    reference = timm.create_model("resnet10t").eval()
    torch.save(reference.state_dict(), tmp_path / "weights.pt")
    encoder = build_encoder(EncoderConfig("timm/resnet10t", str(tmp_path / "weights.pt"), output_stride=32)).eval()
    image = torch.randn(1, 3, 64, 64)
    assert torch.allclose(encoder(image)[-1], reference.forward_features(image), atol=1e-6)


def test_detach_stops_the_gradient():
    encoder = build_encoder(EncoderConfig("resnet18", weights=None))
    encoder(torch.randn(2, 3, 64, 64), detach_after=3)[-1].sum().backward()
    assert encoder.net.get_submodule("layer2.0.conv1").weight.grad is None
    assert encoder.net.get_submodule("layer3.0.conv1").weight.grad is not None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (EncoderConfig("resnet5000", None), "resnet5000"),
        (EncoderConfig("timm/no_such_net", None), "no_such_net"),
        (EncoderConfig("densenet121", None), "DenseNet"),
        (EncoderConfig("timm/pvt_v2_b0", None, 16), "has output stride 32 and does not take 16"),
        (EncoderConfig("timm/test_vit", None, 8), "has output stride 16 and does not take 8"),
        (EncoderConfig("timm/ghostnet_050", None, 16), "has output stride 32 and does not take 16"),
        (EncoderConfig("resnet18", "/nowhere/w.pt"), "no such file"),
    ],
)
def test_errors_name_what_is_wrong(config, words):
    with pytest.raises(InvalidInputError, match=words):
        build_encoder(config)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pt")
    with pytest.raises(InvalidInputError, match="do not fit"):
        build_encoder(EncoderConfig("mobilenet_v2", str(tmp_path / "w.pt")))


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 65, 500])
def test_padded_sizes_follow_the_rule(size):
    rule = EncoderConfig(size_multiple=32, size_offset=1)
    padded = rule.padded_size((size, size))[0]
    assert padded >= size
    assert padded % 32 == 1
    assert padded - size < 32
    assert EncoderConfig().padded_size((size, 7)) == (size, 7)


def test_a_size_rule_that_would_not_align_is_refused():
    with pytest.raises(InvalidInputError, match="multiple of the output stride"):
        EncoderConfig(size_multiple=8, size_offset=1, output_stride=16)
