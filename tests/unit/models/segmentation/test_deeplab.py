"""The whole network: outputs, batch normalisation, learning rates, initial weights of other projects."""

from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from models.backbones import EncoderConfig, build_encoder
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule
from models.segmentation import DeepLabConfig, build_deeplab
from models.segmentation.initial_weights import load_initial_weights

SMALL = EncoderConfig("timm/test_efficientnet", None, output_stride=16)


def small(num_classes=3, **options):
    torch.manual_seed(0)
    settings = {"rates": (1, 2), "head_channels": 8, "low_level_channels": 4, **options}
    return build_deeplab(DeepLabConfig(settings.pop("encoder", SMALL), **settings), num_classes)


V2 = {"rates": (6, 12, 18, 24)}


@pytest.mark.parametrize(
    ("encoder", "head", "options", "stride"),
    [
        (EncoderConfig("resnet101", None, 8, dilate=True), "v2", V2, 8),
        (EncoderConfig("resnet38", None, 8), "largefov", {"rates": (12,)}, 8),
        (EncoderConfig("drn_d_105", None, 8), "v2", V2, 8),
        (EncoderConfig("drn_d_105", None, 8), "v3plus", {}, 4),
        (EncoderConfig("mobilenet_v2", None, 16, dilate=True), "v3plus", {"separable": True}, 4),
        *((EncoderConfig(f"resnet{depth}", None, 16), "v3plus", {}, 4) for depth in (50, 101, 152)),
        *(
            (EncoderConfig(f"timm/resnest{name}", None, 16), "v3plus", {}, 4)
            for name in ("50d", "101e", "200e", "269e")
        ),
        (EncoderConfig("timm/resnest50d", None, 16), "v3", {}, 16),
    ],
)
def test_every_pair_of_encoder_and_head_gives_logits_at_its_stride(encoder, head, options, stride):
    with torch.device("meta"):  # shapes alone
        model = build_deeplab(DeepLabConfig(encoder, head, head_channels=16, **options), 21).eval()
        [logits] = model(torch.zeros(1, 3, 65, 49))
        assert logits.shape == (1, 21, 64 // stride + 1, 48 // stride + 1)


def test_losses_on_several_scales_and_their_maximum():
    model = small(training_scales=(0.5, 0.75), head_dropout=0.0)
    plain = small(head_dropout=0.0)
    plain.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 64, 64)
    whole, half, middle, highest = model.train()(images)
    [expected_whole] = plain.train()(images)
    small_images = F.interpolate(images, size=(32, 32), mode="bilinear", align_corners=False)
    [expected_half] = plain(small_images)
    assert torch.equal(whole, expected_whole)
    assert torch.equal(half, expected_half)
    fitted = [F.interpolate(x, size=whole.shape[2:], mode="bilinear", align_corners=False) for x in (half, middle)]
    assert torch.equal(highest, torch.maximum(torch.maximum(whole, fitted[0]), fitted[1]))
    assert len(model.eval()(images)) == 1


def test_the_encoders_batch_norm_keeps_its_statistics_unless_it_may_train():
    for may_train in (False, True):
        model = small(train_batch_norm=may_train).train()
        before = {name: value.clone() for name, value in model.encoder.state_dict().items() if "running" in name}
        model(torch.randn(2, 3, 64, 64))
        after = model.encoder.state_dict()
        assert any(not torch.equal(value, after[name]) for name, value in before.items()) is may_train


def test_learning_rates_of_deeplab_v2():
    model = small(head="v2", train_batch_norm_affine=False)
    groups = model.parameter_groups(1.0, 10.0, BiasRule(lr_factor=2.0, decay=False))
    by_id = {id(p): group for group in groups for p in group["params"]}
    branch = model.head[0].branches[0]
    assert by_id[id(branch.weight)]["lr"] == 10.0
    assert by_id[id(branch.bias)]["lr"] == 20.0
    assert by_id[id(branch.bias)]["weight_decay"] == 0.0
    convolution = next(m for m in model.encoder.modules() if isinstance(m, nn.Conv2d))
    assert by_id[id(convolution.weight)]["lr"] == 1.0
    assert "weight_decay" not in by_id[id(convolution.weight)]
    assert not any(id(p) in by_id for p in model.encoder.batch_norm_parameters())


def test_group_norm_does_not_see_the_batch():
    model = small(head_norm="group", head_dropout=0.0).train()
    images = torch.randn(3, 3, 64, 64)
    together = model(images)[0]
    assert torch.allclose(together[:1], model(images[:1])[0], atol=1e-5)


def test_torchvisions_deeplab_loads_and_gives_its_output(tmp_path, monkeypatch):
    torch.manual_seed(0)
    reference = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=5, aux_loss=True
    ).eval()
    path = tmp_path / "weights.pt"
    torch.save(reference.state_dict(), path)
    encoder = EncoderConfig("resnet50", None, output_stride=8, dilate=True)
    options = {"head": "v3", "rates": (12, 24, 36), "head_norm": "batch", "weights": str(path)}
    model = build_deeplab(DeepLabConfig(encoder, **options), 5).eval()
    images = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        assert torch.allclose(model.pixel_logits(images), reference(images)["out"], atol=1e-4)
    published = SimpleNamespace(DEFAULT=SimpleNamespace(get_state_dict=lambda progress: reference.state_dict()))
    monkeypatch.setattr(torchvision.models, "get_model_weights", {"deeplabv3_resnet50": published}.__getitem__)
    own = build_encoder(EncoderConfig("resnet50", "coco", 8, dilate=True))  # its encoder alone, under any head
    assert torch.equal(own.net.layer4[2].conv3.weight, reference.backbone.layer4[2].conv3.weight)


def caffe_name(key):
    """What kazuto1011/deeplab-pytorch calls a tensor of ours."""
    key = key.removeprefix("encoder.net.")
    if key.startswith("head."):
        return key.replace("head.0.branches.", "base.aspp.c")
    if not key.startswith("layer"):
        return f"base.layer1.conv1.{key.replace('1.', '.', 1)}"
    layer, block, rest = key.split(".", 2)
    units = {"1": "reduce", "2": "conv3x3", "3": "increase"}
    if rest.startswith("downsample"):
        _, index, what = rest.split(".")
        unit = f"shortcut.{'conv' if index == '0' else 'bn'}.{what}"
    else:
        name, what = rest.split(".")
        unit = f"{units[name[-1]]}.{name[:-1]}.{what}"
    return f"base.layer{int(layer[-1]) + 1}.block{int(block) + 1}.{unit}"


def test_caffes_deeplab_v2_loads_by_its_names_and_has_its_layout(tmp_path):
    encoder = EncoderConfig("resnet50", None, output_stride=8, dilate=True, normalisation="caffe")
    options = {"head": "v2", "rates": (6, 12, 18, 24), "caffe_layout": True}
    torch.manual_seed(1)
    source = build_deeplab(DeepLabConfig(encoder, **options), 4)
    state = {caffe_name(key): value for key, value in source.state_dict().items()}
    assert "base.layer2.block1.reduce.conv.weight" in state
    assert "base.layer1.conv1.bn.running_mean" in state
    torch.save(state, tmp_path / "coco.pth")
    model = build_deeplab(DeepLabConfig(encoder, **options, weights=str(tmp_path / "coco.pth")), 4)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), source.parameters(), strict=True))
    net = model.encoder.net
    assert (net.layer2[0].conv1.stride, net.layer2[0].conv2.stride) == ((2, 2), (1, 1))
    assert [net.layer3[1].conv2.dilation, net.layer4[1].conv2.dilation] == [(2, 2), (4, 4)]
    with torch.no_grad():  # pooling rounds up: 322 -> 161 -> 81 -> 41, where torchvision has 321 -> 161 -> 81
        assert model.eval()(torch.zeros(1, 3, 66, 68))[0].shape[2:] == (9, 9)
    torch.nn.init.zeros_(net.conv1.weight)
    load_initial_weights(model, {key: value for key, value in state.items() if "aspp" not in key}, "no head")
    assert torch.equal(net.conv1.weight, source.encoder.net.conv1.weight)


def test_a_last_layer_of_other_classes_is_left_as_it_is(tmp_path):
    source = small(num_classes=5)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    model, untouched = small(weights=str(tmp_path / "weights.pt")), small()
    assert torch.equal(model.head.decoder[0][0].weight, source.head.decoder[0][0].weight)
    assert torch.equal(model.head.classifier.weight, untouched.head.classifier.weight)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    model = small()
    state = dict(model.state_dict())
    state.pop("head.low_level.0.weight")
    state["head.stranger"] = torch.zeros(1)
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(InvalidInputError, match=r"1 missing .*low_level.*1 foreign .*stranger"):
        small(weights=str(tmp_path / "weights.pt"))


def test_the_caffe_layout_is_that_of_resnets():
    with pytest.raises(InvalidInputError, match="caffe_layout"):
        small(caffe_layout=True)
    with pytest.raises(InvalidInputError, match="background and at least one class"):
        small(num_classes=1)
