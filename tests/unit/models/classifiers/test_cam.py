"""The CAM classifier and its multi-scale maps, against plain restatements."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from models.backbones import EncoderConfig
from models.backbones.resnet38 import ResNet38Encoder
from models.classifiers.cam import CamClassifier, CamClassifierConfig, build_cam_classifier
from models.classifiers.multi_scale_cam import flip_agreement, multi_scale_cam
from models.errors import InvalidInputError

RELEASED = EncoderConfig("resnet18", weights=None, output_stride=16)
ALIGNED = EncoderConfig("resnet18", weights=None, output_stride=16, dilate=True, size_multiple=32, size_offset=1)


def classifier(encoder=RELEASED, num_foreground=4, **options):
    torch.manual_seed(0)
    return build_cam_classifier(CamClassifierConfig(encoder, **options), num_foreground).eval()


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_logits_are_the_mean_of_the_signed_class_maps():
    """Global average pooling and a bias-free 1x1 convolution commute (Zhou et al., 2016)."""
    model = classifier()
    image = torch.randn(2, 3, 64, 96)
    signed = model.head(model.encoder(image)[-1])
    assert torch.allclose(model(image)[0], signed.mean(dim=(2, 3)), atol=1e-5)
    assert torch.equal(model.class_maps(image), signed.clamp_min(0))


def test_side_layers_add_their_own_heads_maps():
    model = classifier(EncoderConfig("mobilenet_v2", weights=None, output_stride=16), side_layers=("features.16",))
    features, kept = torch.randn(2, 3, 65, 97), {}
    layer = model.encoder.net.get_submodule("features.16")
    with layer.register_forward_hook(lambda _layer, _inputs, output: kept.update(output=output)):
        signed = model.head(model.encoder(features)[-1])
    of_side = model.side_heads[0](kept["output"])
    logits = torch.stack([signed.mean(dim=(2, 3)), of_side.mean(dim=(2, 3))])
    assert torch.allclose(model(features), logits, atol=1e-5)
    assert torch.allclose(model.class_maps(features), (signed + of_side).clamp_min(0), atol=1e-6)
    listed = {id(parameter) for group in model.parameter_groups(0.1, 1.0) for parameter in group["params"]}
    assert id(model.side_heads[0].weight) in listed


@pytest.mark.parametrize(
    ("layer", "reason"), [("features.99", "its layers are features.0, "), ("features.5", "another stride")]
)
def test_a_side_layer_that_cannot_have_a_head_is_named(layer, reason):
    encoder = EncoderConfig("mobilenet_v2", weights=None, output_stride=16)
    with pytest.raises(InvalidInputError, match=reason):
        build_cam_classifier(CamClassifierConfig(encoder, side_layers=(layer,)), 3)


def test_a_network_that_shows_no_layers_can_have_no_side_heads():
    with torch.device("meta"):
        encoder = ResNet38Encoder()
    config = CamClassifierConfig(EncoderConfig("resnet38", weights=None, output_stride=8), side_layers=("b6",))
    with pytest.raises(InvalidInputError, match="cannot be cut"):
        CamClassifier(encoder, 3, config)


def test_gradient_reaches_late_stages_and_head_only():
    model = classifier(frozen_stages=3)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    grads = {name: parameter.grad is not None for name, parameter in model.named_parameters()}
    assert not any(has for name, has in grads.items() if ".layer1" in name or ".layer2" in name or "net.conv1" in name)
    assert all(has for name, has in grads.items() if ".layer3" in name or ".layer4" in name or name.startswith("head"))


def test_parameter_groups_hold_each_trained_parameter_once():
    model = classifier(frozen_stages=3)
    groups = model.parameter_groups(0.1, 1.0)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[key].split(".")[2] for key in listed if names[key].startswith("encoder")} == {"layer3", "layer4"}
    assert [group["lr"] for group in groups] == [0.1, 1.0]


@pytest.mark.parametrize("train_batch_norm", [False, True])
def test_batch_norm_follows_the_batches_only_when_asked(train_batch_norm):
    model = classifier(train_batch_norm=train_batch_norm).train()
    before = model.encoder.net.get_submodule("bn1").running_mean.clone()
    model(torch.randn(2, 3, 64, 64))
    changed = not torch.equal(before, model.encoder.net.get_submodule("bn1").running_mean)
    assert changed is train_batch_norm


@pytest.mark.parametrize(("height", "width"), [(75, 100), (50, 33)])
def test_multi_scale_cam_is_the_released_recipe(height, width):
    """Fact sheet 1.1, steps 1 to 5, written out."""
    model = classifier()
    image = random_image(height, width)
    scales, ids = (1.0, 0.5, 1.5), (1, 3)
    cam = torch.zeros(2, (height - 1) // 4 + 1, (width - 1) // 4 + 1)
    high = torch.zeros(2, height, width)
    with torch.no_grad():
        for scale in scales:
            size = (round(width * scale), round(height * scale))
            scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
            x = (torch.from_numpy(scaled.copy()).permute(2, 0, 1).float() / 255 - MEAN) / STD
            maps = model.class_maps(x[None])[0] + model.class_maps(x.flip(-1)[None])[0].flip(-1)
            maps = maps[[0, 2]][None]
            cam += F.interpolate(maps, size=cam.shape[1:], mode="bilinear", align_corners=False)[0]
            up = ((height - 1) // 16 + 1) * 16, ((width - 1) // 16 + 1) * 16
            high += F.interpolate(maps, size=up, mode="bilinear", align_corners=False)[0, :, :height, :width]
    cam = cam / (cam.amax(dim=(1, 2), keepdim=True) + 1e-5)
    high = high / (high.amax(dim=(1, 2), keepdim=True) + 1e-5)
    result = multi_scale_cam(model, image, ids, scales)
    assert torch.allclose(result.cam_Khw, cam, atol=1e-5)
    assert torch.allclose(result.high_res_KHW, high, atol=1e-5)


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def test_aligned_cam_of_the_mirror_image_is_the_mirrored_cam():
    """On an aligned grid a width of the form 4k + 1 mirrors exactly; the released stretch cannot do that."""
    model = classifier(ALIGNED)
    image = random_image(65, 97)
    plain = multi_scale_cam(model, image, (1, 2), (1.0,))
    mirrored = multi_scale_cam(model, np.ascontiguousarray(image[:, ::-1]), (1, 2), (1.0,))
    assert torch.allclose(plain.cam_Khw, mirrored.cam_Khw.flip(-1), atol=1e-4)
    assert torch.allclose(plain.high_res_KHW, mirrored.high_res_KHW.flip(-1), atol=1e-4)


def test_aligned_stride_4_cam_is_every_fourth_pixel_of_the_full_one():
    result = multi_scale_cam(classifier(ALIGNED), random_image(50, 70), (2,), (1.0, 0.5))
    ratio = result.high_res_KHW[:, ::4, ::4] / result.cam_Khw
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), atol=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (1, 40), (8, 500)])
def test_odd_sizes_give_cams_in_range(size):
    result = multi_scale_cam(classifier(), random_image(*size), (1,), (1.0, 0.5))
    assert result.high_res_KHW.shape == (1, *size)
    assert 0 <= float(result.cam_Khw.min()) <= float(result.cam_Khw.max()) <= 1


@pytest.mark.parametrize("ids", [(), (0,), (5,)])
def test_class_ids_out_of_range_are_refused(ids):
    with pytest.raises(InvalidInputError, match="class_ids"):
        multi_scale_cam(classifier(), random_image(32, 32), ids)


def test_flip_agreement_is_the_soft_iou_of_both_views():
    maps = torch.tensor(
        [[[[0.0, 1.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]], [[[0.5, 1.0], [1.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]]]
    )
    # class 0: minima 0 + 1 + 1 + 0, maxima 0.5 + 1 + 2 + 0.5; class 1 fires nowhere
    assert flip_agreement(maps) == pytest.approx((2 / 4 + 0) / 2)
    assert flip_agreement(maps[:1].repeat(2, 1, 1, 1)[:, :1]) == pytest.approx(1.0)


def test_a_mirrored_image_has_the_same_flip_agreement():
    model, image = classifier(), random_image(40, 40)
    plain = multi_scale_cam(model, image, (1, 2), (1.0, 0.5))
    mirrored = multi_scale_cam(model, np.ascontiguousarray(image[:, ::-1]), (1, 2), (1.0, 0.5))
    assert 0.0 <= plain.flip_agreement < 1.0
    assert plain.flip_agreement == pytest.approx(mirrored.flip_agreement, abs=2e-2)
