"""What PSA does differently from IRN with its classifier and its CAMs, restated."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from models.backbones import EncoderConfig
from models.classifiers.cam import CamClassifierConfig, build_cam_classifier
from models.classifiers.multi_scale_cam import multi_scale_cam
from models.errors import InvalidInputError
from models.images import strided_size

PLAIN = EncoderConfig("resnet18", weights=None, output_stride=8, dilate=True)
PADDED = EncoderConfig("resnet18", weights=None, output_stride=8, dilate=True, size_multiple=32)


def classifier(encoder=PLAIN, num_foreground=4, **options):
    torch.manual_seed(0)
    return build_cam_classifier(CamClassifierConfig(encoder, **options), num_foreground).eval()


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def restated(model, image, class_ids, scales):
    """Fact sheet 1.4: eight passes, each up-sampled to the image's size, mirrored back, and summed."""
    height, width = image.shape[:2]
    total = torch.zeros(len(class_ids), height, width)
    for scale in scales:
        size = (round(width * scale), round(height * scale))
        scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        x = model.encoder.normalisation(scaled)
        for mirrored in (False, True):
            maps = model.class_maps((x.flip(-1) if mirrored else x)[None])
            full = F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)[0]
            full = full.flip(-1) if mirrored else full
            total += full[[c - 1 for c in class_ids]]
    return total / (total.amax(dim=(1, 2), keepdim=True) + 1e-5)


@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
@pytest.mark.parametrize("form", ["relu", "sqrt"])
@torch.no_grad()
def test_cams_are_the_released_recipe(size, form):
    model = classifier(cam_form=form)
    image = random_image(*size)
    found = multi_scale_cam(model, image, (1, 3), (1.0, 0.5, 1.5), "psa")
    assert torch.allclose(found.high_res_KHW, restated(model, image, (1, 3), (1.0, 0.5, 1.5)), atol=1e-5)
    assert found.cam_Khw.shape == (2, *strided_size(size, 4))
    assert float(found.cam_Khw.max()) <= 1.0


def test_what_padding_added_is_not_squeezed_into_the_image():
    def brightness(images):
        """Class maps that are the mean brightness of each cell."""
        return F.avg_pool2d(images.mean(dim=1, keepdim=True).clamp_min(0), 8).expand(-1, 4, -1, -1)

    model = classifier(PADDED)
    model.class_maps = brightness
    image = np.zeros((64, 72, 3), np.uint8)  # padded to 64 x 96
    image[:, 48:56] = 255
    found = multi_scale_cam(model, image, (1,), (1.0,), "psa").high_res_KHW[0]
    assert 50 <= int(found[32].argmax()) <= 53
    assert float(found[:, :40].max()) == 0.0


@torch.no_grad()
def test_the_square_root_is_that_of_the_maps():
    plain, rooted = classifier(), classifier(cam_form="sqrt")
    image = torch.randn(1, 3, 64, 64)
    assert torch.allclose(rooted.class_maps(image) ** 2, plain.class_maps(image), atol=1e-5)
    assert torch.equal(rooted(image), plain(image))  # of the CAM only


def test_channels_are_dropped_before_the_head_and_in_training_only():
    model = classifier(head_dropout=0.5)
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(model(image), model(image))
    model.train()
    torch.manual_seed(1)
    found = model(image)
    features = model.encoder(image)[-1].mean(dim=(2, 3), keepdim=True)
    torch.manual_seed(1)
    kept = F.dropout2d(features, 0.5, training=True)
    assert 0.3 < float((kept == 0).float().mean()) < 0.7
    assert torch.allclose(found, model.head(kept).flatten(1), atol=1e-5)


def test_the_head_starts_xavier_uniform():
    weight = classifier(head_init="xavier", num_foreground=20).head.weight.detach()
    bound = (6 / (512 + 20)) ** 0.5
    assert float(weight.abs().max()) == pytest.approx(bound, rel=1e-2)
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=2e-2)


def test_batch_norm_learns_nothing_where_its_scales_are_frozen_too():
    groups = classifier(frozen_stages=1, train_batch_norm_affine=False).parameter_groups(0.1, 1.0)
    assert all(parameter.dim() == 4 for group in groups for parameter in group["params"])


def test_a_dropout_of_everything_is_refused():
    with pytest.raises(InvalidInputError, match="head_dropout"):
        CamClassifierConfig(head_dropout=1.0)
