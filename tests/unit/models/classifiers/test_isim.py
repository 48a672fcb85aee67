"""DeepLabCAM and UNetCAM: parameter counts, shapes over encoders, what learns, and that the CAM is the branch's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.backbones import EncoderConfig, Tap
from models.classifiers.cam import CamClassifierConfig, build_cam_classifier
from models.classifiers.isim import build_isim
from models.classifiers.isim_config import IsimConfig
from models.errors import InvalidInputError
from models.segmentation.heads import DecoderHead

DECODERS = ("deeplab_v3plus", "deeplab_v3", "unet_learnable", "unet_bilinear")
SMALL = {"rates": (1, 2), "decoder_channels": 16, "low_level_channels": 8, "unet_channels": (16, 12, 8, 8, 4)}


def small(decoder, encoder="timm/test_efficientnet", *, classifier=None, **options):
    branch = {"frozen_stages": 0, **(classifier or {})}
    config = CamClassifierConfig(EncoderConfig(encoder, None, **options), **branch)
    return build_isim(IsimConfig(config, decoder, **SMALL), 4)


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_decoder_has_the_parameters_of_the_released_one():
    taps = [Tap(64, 2), Tap(256, 4), Tap(512, 8), Tap(1024, 16), Tap(2048, 16)]
    assert num_parameters(DecoderHead(taps, 21, IsimConfig().deeplab, 1)) == 16_253_813


def test_deeplabcam_on_resnet50_has_the_parameters_of_the_released_one():
    config = IsimConfig(CamClassifierConfig(EncoderConfig("resnet50", None), frozen_stages=0))
    model = build_isim(config, 20)
    assert num_parameters(model.classifier.encoder) == 23_508_032
    assert num_parameters(model.classifier.head) == 40_960
    assert num_parameters(model) == 39_802_805


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("encoder", "size_hw"),
    [("timm/test_efficientnet", (64, 64)), ("timm/test_resnet", (50, 71)), ("mobilenet_v2", (71, 50))],
)
def test_both_outputs_have_their_shapes_on_any_encoder(decoder, encoder, size_hw):
    model = small(decoder, encoder).eval()
    tags, pixels = model(torch.randn(2, 3, *size_hw))
    assert tags.shape == (1, 2, 4)
    assert pixels.shape == (2, 5, *size_hw)
    assert torch.isfinite(pixels).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_corner_aligned_grid_is_as_large_as_the_image(decoder):
    model = small(decoder, size_multiple=16, size_offset=1).eval()
    assert model(torch.randn(1, 3, 65, 49))[1].shape == (1, 5, 65, 49)
    if decoder.startswith("unet"):
        assert model.decoder(model.classifier.encoder(torch.randn(1, 3, 65, 49))).shape[2:] == (65, 49)


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_branch_is_a_plain_cam_classifier(decoder):
    model = small(decoder).eval()
    plain = build_cam_classifier(model.config.classifier, 4).eval()
    plain.load_state_dict(model.classifier.state_dict())
    images = torch.randn(2, 3, 48, 48)
    assert torch.allclose(model(images)[0], plain(images), atol=1e-6)
    maps = model.classifier.class_maps(images)
    features = plain.encoder(images)[-1]
    assert torch.allclose(
        maps, torch.relu(torch.einsum("bchw,kc->bkhw", features, plain.head.weight[:, :, 0, 0])), atol=1e-5
    )
    pooled = torch.einsum("bchw,kc->bkhw", features, plain.head.weight[:, :, 0, 0]).mean(dim=(2, 3))
    assert torch.allclose(plain(images)[0], pooled, atol=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_pixels_teach_the_encoder_and_frozen_stages_do_not_learn(decoder):
    model = small(decoder, "timm/test_resnet", classifier={"frozen_stages": 2}).train()
    encoder = model.classifier.encoder
    early = encoder.stage_parameters(2)
    learning = {id(p) for group in model.parameter_groups(0.1, 1.0, 0.01) for p in group["params"]}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in learning)  # as the training loop does
    model(torch.randn(2, 3, 64, 64))[1].square().mean().backward()
    assert all(parameter.grad is None for parameter in early)
    late = [p for p in encoder.parameters() if all(p is not other for other in early)]
    assert sum(float(p.grad.abs().sum()) for p in late if p.grad is not None) > 0
    assert model.classifier.head.weight.grad is None
    assert all(p.grad is not None for p in model.decoder.parameters())


def test_parts_learn_at_their_rates():
    model = small("unet_learnable", "timm/test_resnet", classifier={"frozen_stages": 1})
    encoder, head, decoder = model.parameter_groups(0.1, 1.0, 0.01)
    assert [group["lr"] for group in (encoder, head, decoder)] == [0.1, 1.0, 0.01]
    assert {id(p) for p in decoder["params"]} == {id(p) for p in model.decoder.parameters()}
    assert {id(p) for p in head["params"]} == {id(model.classifier.head.weight)}
    counted = sum(p.numel() for group in (encoder, head, decoder) for p in group["params"])
    frozen = sum(p.numel() for p in model.classifier.encoder.stage_parameters(1))
    assert counted == num_parameters(model) - frozen


def test_without_a_decoder_it_is_the_branch_alone():
    model = small("none")
    assert model.decoder is None
    assert model(torch.randn(1, 3, 32, 32))[1] is None
    assert len(model.parameter_groups(0.1, 1.0, 0.01)) == 2


@settings(max_examples=15, deadline=None)
@given(st.integers(33, 90), st.integers(33, 90), st.sampled_from(DECODERS))
def test_pixel_logits_have_the_size_of_the_images(height, width, decoder):
    model = small(decoder).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, height, width))[1].shape[2:] == (height, width)


def test_wrong_settings_are_explained():
    with pytest.raises(InvalidInputError, match="rates"):
        IsimConfig(rates=())
    with pytest.raises(InvalidInputError, match="unet_channels must be widths"):
        IsimConfig(decoder="unet_bilinear", unet_channels=())
    with pytest.raises(InvalidInputError, match="a width for each of the 5 taps"):
        build_isim(
            IsimConfig(CamClassifierConfig(EncoderConfig("resnet18", None)), "unet_bilinear", unet_channels=(8, 8)), 2
        )
