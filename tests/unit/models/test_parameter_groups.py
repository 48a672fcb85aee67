"""Optimiser groups: each parameter once, biases by their own rule."""

import pytest
import torch
from torch import nn

from models.backbones import EncoderConfig
from models.classifiers.cam import CamClassifierConfig, build_cam_classifier
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule, parameter_groups

PSA = BiasRule(lr_factor=2.0, decay=False)


def test_without_a_rule_there_is_one_group_of_all_parameters():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    [group] = parameter_groups([net], 0.1, BiasRule(), without=[net[0].bias])
    assert [id(p) for p in group["params"]] == [id(p) for p in (net[0].weight, net[1].weight, net[1].bias)]
    assert set(group) == {"params", "lr"}


def test_biases_learn_twice_as_fast_and_do_not_decay():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1, bias=False))
    weights, biases = parameter_groups([net], 0.1, PSA)
    assert [id(p) for p in weights["params"]] == [id(net[0].weight), id(net[1].weight)]
    assert [id(p) for p in biases["params"]] == [id(net[0].bias)]
    assert (weights["lr"], biases["lr"]) == (0.1, 0.2)
    optimiser = torch.optim.SGD([weights, biases], weight_decay=0.5)
    before = [p.detach().clone() for p in net.parameters()]
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    moved = [not torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True)]
    assert moved == [True, False, True]


def test_the_four_groups_of_psa_with_vgg16():
    """x1 and x2 for what was there, x10 for the head, which has no bias; conv1 and conv2 in none."""
    config = CamClassifierConfig(EncoderConfig("vgg16_largefov", None, output_stride=8), frozen_stages=1)
    with torch.device("meta"):
        model = build_cam_classifier(config, 20)
    groups = model.parameter_groups(0.1, 1.0, PSA)
    assert [(group["lr"], len(group["params"])) for group in groups] == [(0.1, 11), (0.2, 11), (1.0, 1)]


def test_frozen_batch_norm_leaves_resnet38_its_convolutions():
    encoder = EncoderConfig("resnet38", None, output_stride=8)
    config = CamClassifierConfig(encoder, frozen_stages=1, train_batch_norm_affine=False)
    with torch.device("meta"):
        model = build_cam_classifier(config, 20)
    groups = model.parameter_groups(0.1, 1.0, PSA)
    assert [group["lr"] for group in groups] == [0.1, 1.0]  # no bias is left
    names = {id(p): name for name, p in model.named_parameters()}
    kept = {names[id(p)] for p in groups[0]["params"]}
    assert all(".conv_branch" in name and not name.startswith("encoder.net.b2") for name in kept)
    assert len(kept) == sum(".conv_branch" in n and ".b2" not in n for n in names.values())


def test_a_rate_that_is_not_positive_is_refused():
    with pytest.raises(InvalidInputError, match="lr_factor must be positive"):
        BiasRule(lr_factor=0.0)
