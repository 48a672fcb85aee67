"""The decoder: the released table at 256, any other size, its gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from models.adversarial.config import UNetConfig
from models.adversarial.unet import UNet
from models.errors import InvalidInputError

SMALL = UNetConfig(depth=4, base_channels=3, max_channels=9)


def test_size_and_parameters_of_the_released_network():
    """Fact sheet: 54,857,091 parameters at 448 channels; channels and sizes of every level."""
    seen = []
    with torch.device("meta"):
        net = UNet(448, UNetConfig())
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(lambda m, i, out: seen.append((out.shape[1], out.shape[2])))
        assert net(torch.zeros(1, 448, 256, 256), (256, 256)).shape == (1, 3, 256, 256)
    assert sum(p.numel() for p in net.parameters()) == 54_857_091
    down = [(64, 128), (128, 64), (256, 32), (512, 16), (512, 8), (512, 4), (512, 2), (512, 1)]
    up = [(512, 2), (512, 4), (512, 8), (512, 16), (256, 32), (128, 64), (64, 128), (3, 256)]
    assert seen == down + up
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0, 0, 0] + [0.5] * 9 + [0, 0, 0]
    assert [m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d)] == [False] * 8 + [True]


def restated(net, x):
    """The table with functions alone, for sizes that need no padding."""
    skips = []
    last = len(net.down) - 1
    for level, down in enumerate(net.down):
        x = F.conv2d(x, down.conv.weight, stride=2, padding=1)
        if 0 < level < last:
            x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        x = torch.where(x > 0, x, 0.2 * x)
        skips.append(x)
    for up, skip in zip(net.up, skips[-2::-1], strict=True):
        x = F.conv_transpose2d(x, up.conv.weight, stride=2, padding=1)
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        x = torch.cat([x.clamp_min(0), skip], dim=1)
    x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return F.conv2d(x, net.out.weight, net.out.bias, padding=1)


def test_the_forward_pass_is_the_table():
    torch.manual_seed(0)
    net = UNet(5, SMALL).eval()
    x = torch.randn(2, 5, 32, 48)
    assert torch.allclose(net(x, (32, 48)), restated(net, x), atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_every_size_gives_an_image_of_its_size(height, width):
    torch.manual_seed(0)
    image = UNet(2, SMALL)(torch.randn(1, 2, height, width), (height, width))
    assert image.shape == (1, 3, height, width)
    assert torch.isfinite(image).all()


@pytest.mark.parametrize(("upscale", "size"), [(8, (65, 97)), (16, (64, 33)), (2, (9, 10)), (1, (20, 21))])
def test_a_grid_is_drawn_at_the_size_of_its_image(upscale, size):
    grid = [-(-side // upscale) for side in size]
    image = UNet(2, SMALL, upscale)(torch.randn(2, 2, *grid), size)
    assert image.shape == (2, 3, *size)
    assert sum(type(m).__name__ == "_Doubling" for m in UNet(2, SMALL, upscale).modules()) == upscale.bit_length() - 1


def test_every_weight_learns_at_an_odd_size():
    torch.manual_seed(0)
    net = UNet(2, SMALL, 4).train()
    net(torch.randn(2, 2, 9, 13), (35, 50)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"depth": 1}, "depth"), ({"base_channels": 600}, "base_channels"), ({"dropout": 1.0}, "dropout")],
)
def test_sizes_that_cannot_be_are_refused(options, words):
    with pytest.raises(InvalidInputError, match=words):
        UNetConfig(**options)
