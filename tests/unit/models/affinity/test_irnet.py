"""IRNet: published sizes, and inference written out."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.affinity.irnet import EdgeBranch, IRNet
from models.affinity.irnet_inference import boundary_features
from models.backbones import EncoderConfig, Tap, build_encoder
from models.errors import InvalidInputError
from models.images import IMAGENET_NORMALISATION

SMALL = EncoderConfig("resnet18", weights=None, output_stride=16)
ALIGNED = EncoderConfig("resnet18", weights=None, output_stride=16, dilate=True, size_multiple=32, size_offset=1)
RESNET50_TAPS = [Tap(64, 4), Tap(256, 4), Tap(512, 8), Tap(1024, 16), Tap(2048, 16)]


def irnet(config=SMALL, **options):
    torch.manual_seed(0)
    return IRNet(build_encoder(config), **options).eval()


def test_edge_branch_has_the_published_number_of_parameters():
    parameters = sum(parameter.numel() for parameter in EdgeBranch(RESNET50_TAPS).parameters())
    assert parameters == (64 + 256 + 512 + 1024 + 2048) * 32 + 5 * 64 + 161


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (50, 33)])
def test_outputs_are_at_stride_4(size):
    output = irnet()(torch.randn(2, 3, *size))
    grid = (size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1
    assert output.edge_logits_B1hw.shape == (2, 1, *grid)
    assert output.edge_features_BDhw.shape == (2, 160, *grid)
    assert output.displacement_B2hw.shape == (2, 2, *grid)


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm/resnet10t"])
def test_other_encoders_fit(name):
    encoder = build_encoder(EncoderConfig(name, weights=None, output_stride=16, dilate=True))
    assert IRNet(encoder).eval()(torch.randn(1, 3, 64, 64)).edge_features_BDhw.shape[1] == 160


def test_an_encoder_without_a_second_tap_at_stride_4_is_refused():
    with pytest.raises(InvalidInputError, match="second tap at stride 4"):
        IRNet(build_encoder(EncoderConfig("timm/convnext_atto", weights=None)))


def test_up_sampling_comes_before_relu():
    """With ReLU first, an up-sampled path could never be zero next to a positive cell (fact sheet 2.2)."""
    model = irnet()
    path = model.edge.paths[4]
    x = torch.randn(1, 512, 4, 4)
    expected = F.relu(F.interpolate(path.norm(path.conv(x)), scale_factor=4, mode="bilinear", align_corners=False))
    assert torch.equal(path(x), expected)


def test_encoder_is_frozen_and_stays_in_evaluation_mode():
    model = irnet().train()
    assert not model.encoder.training
    assert model.edge.training
    output = model(torch.randn(1, 3, 64, 64))
    (output.edge_logits_B1hw.sum() + output.displacement_B2hw.sum()).backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.edge.parameters())


def test_mean_shift_is_subtracted_in_evaluation_only():
    model = irnet()
    image = torch.randn(1, 3, 64, 64)
    plain = model(image).displacement_B2hw
    model.displacement.mean_shift += torch.tensor([1.0, -2.0])
    assert torch.allclose(model(image).displacement_B2hw, plain - torch.tensor([1.0, -2.0]).view(1, 2, 1, 1))
    assert torch.allclose(model.train()(image).displacement_B2hw, plain, atol=1e-5)


def test_inference_is_the_released_recipe():
    """Zero-pad to 512, average logits with the mirror, sigmoid (fact sheet 2.8)."""
    model = irnet()
    image = np.random.default_rng(0).integers(0, 256, (75, 101, 3), dtype=np.uint8)
    x = IMAGENET_NORMALISATION(image)
    with torch.no_grad():
        passes = [model(F.pad(y, (0, 512 - 101, 0, 512 - 75))[None]) for y in (x, x.flip(-1))]
    logits = [p.edge_logits_B1hw[0, 0, :19, :26] for p in passes]
    features = [p.edge_features_BDhw[0, :, :19, :26] for p in passes]
    result = boundary_features(model, image, SMALL, "paper")
    assert torch.allclose(result.boundary_hw, torch.sigmoid((logits[0] + logits[1].flip(-1)) / 2), atol=1e-5)
    assert torch.allclose(result.features_Dhw, (features[0] + features[1].flip(-1)) / 2, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, ALIGNED])
def test_released_features_add_up_to_the_boundary_logit(config):
    model = irnet(config)
    image = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    result = boundary_features(model, image, config, "released")
    logit_hw = result.features_Dhw.sum(dim=0) + model.edge.last.bias
    assert torch.allclose(torch.sigmoid(logit_hw), result.boundary_hw, atol=1e-5)


def test_aligned_inference_commutes_with_mirroring():
    model = irnet(ALIGNED)
    image = np.random.default_rng(2).integers(0, 256, (65, 97, 3), dtype=np.uint8)
    plain = boundary_features(model, image, ALIGNED).boundary_hw
    mirrored = boundary_features(model, np.ascontiguousarray(image[:, ::-1]), ALIGNED).boundary_hw
    assert torch.allclose(plain, mirrored.flip(-1), atol=1e-4)


def test_images_larger_than_512_pixels_are_not_cropped():
    image = np.zeros((30, 700, 3), dtype=np.uint8)
    assert boundary_features(irnet(), image, SMALL).boundary_hw.shape == (8, 175)
