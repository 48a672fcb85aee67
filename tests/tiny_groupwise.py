"""A group-wise network small enough to be written out by hand."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from models.backbones.encoder import Encoder, Tap
from models.groupwise import GroupwiseConfig, GroupwiseNet
from models.images import IMAGENET_NORMALISATION

NUM_CLASSES = 3


def tiny_encoder(channels=6):
    layers = {"first": nn.Conv2d(3, 4, 3, stride=2, padding=1), "second": nn.Conv2d(4, channels, 3, 2, 1)}
    net = nn.Sequential()
    for name, layer in layers.items():
        net.add_module(name, nn.Sequential(layer, nn.ReLU()))
    taps = [Tap(4, 2, "early"), Tap(channels, 4, "late")]
    return Encoder(net, [["first"], ["second"]], taps, IMAGENET_NORMALISATION)


def tiny_config(**changes):
    base = GroupwiseConfig(node_channels=8, group_size=3, num_steps=2, init="pytorch", dropout=None)
    return replace(base, **changes)


def tiny_network(**changes):
    torch.manual_seed(0)
    return GroupwiseNet(tiny_encoder(), NUM_CLASSES, tiny_config(**changes)).double()


def array(tensor):
    return tensor.detach().numpy()


def layer(module):
    """Weight and bias of a linear layer or a 1x1 convolution."""
    weight = array(module.weight)
    return weight.reshape(weight.shape[0], -1), None if module.bias is None else array(module.bias)


def group():
    """Nodes of one group of three, and which are there."""
    nodes = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 3, 8, 4, 5)))
    return nodes, torch.ones(1, 3, dtype=torch.bool)
