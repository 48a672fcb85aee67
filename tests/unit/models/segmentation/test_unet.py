"""U-Net's decoder against its levels written out, and against what bilinear and transposed up-sampling are."""

import pytest
import torch
from torch.nn import functional as F

from models.backbones import Tap
from models.segmentation.unet import UNetDecoder

TAPS = [Tap(3, 2), Tap(4, 4), Tap(5, 8), Tap(6, 16), Tap(7, 16)]
CHANNELS = (10, 9, 8, 6, 2)


def tensors(size, taps=TAPS):
    torch.manual_seed(1)
    return [torch.randn(2, tap.channels, -(-size // tap.stride), -(-size // tap.stride)) for tap in taps]


def decoder(*, learnable, corner_aligned=False, taps=TAPS, channels=CHANNELS):
    torch.manual_seed(0)
    return UNetDecoder(taps, 4, channels, learnable=learnable, corner_aligned=corner_aligned).eval()


def plain_transposed(x, layer, factor):
    """Each cell becomes a block of `factor` x `factor` pixels: its features times the kernel of that place."""
    blocks = torch.einsum("bchw,coyx->bohywx", x, layer.weight)
    batch, out, height, _, width, _ = blocks.shape
    return blocks.reshape(batch, out, height * factor, width * factor) + layer.bias[None, :, None, None]


@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("size", [64, 50])
def test_it_is_its_levels_written_out(learnable, size):
    model, taps = decoder(learnable=learnable), tensors(size)
    x = taps[-1]
    for level, skip, factor in zip(model.levels, reversed(taps[:-1]), (1, 2, 2, 2), strict=True):
        if factor == 1:
            assert level.up is None
        elif learnable:
            x = plain_transposed(x, level.up.conv, factor)[..., : skip.shape[2], : skip.shape[3]]
        else:  # interpolated first, convolved then: the two change places
            up = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = level.up.conv(up)
        x = level.mix(torch.cat([x, skip], dim=1))
    if learnable:
        x = plain_transposed(x, model.to_image.conv, 2)
    else:
        up = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = model.to_image.conv(up)
    expected = torch.einsum("bchw,oc->bohw", x, model.classifier.weight[:, :, 0, 0])
    expected = expected + model.classifier.bias[None, :, None, None]
    assert torch.allclose(model(taps), expected, atol=1e-4)


def test_widths_are_those_of_the_levels():
    model = decoder(learnable=True)
    assert [level.mix[0][0].in_channels for level in model.levels] == [7 + 6, 9 + 5, 8 + 4, 6 + 3]
    assert [level.mix[1][0].out_channels for level in model.levels] == [10, 9, 8, 6]
    assert (model.to_image.conv.in_channels, model.classifier.in_channels) == (6, 2)


def test_fewer_taps_take_the_last_widths_and_larger_steps():
    taps = [Tap(3, 4), Tap(5, 8), Tap(7, 32)]
    model = decoder(learnable=True, taps=taps)
    assert [level.up.conv.stride for level in model.levels] == [(4, 4), (2, 2)]
    assert model.to_image.conv.stride == (4, 4)
    assert [level.mix[1][0].out_channels for level in model.levels] == [8, 6]
    assert model(tensors(64, taps)).shape == (2, 4, 64, 64)


def test_a_corner_aligned_ramp_stays_a_ramp():
    """Bilinear up-sampling of a grid whose cell i lies on pixel s * i puts the same values on the same pixels."""
    model = decoder(learnable=False, corner_aligned=True)
    grid = torch.arange(5.0)[None, None, None].expand(1, 6, 5, 5)
    torch.nn.init.zeros_(model.to_image.conv.weight)
    torch.nn.init.zeros_(model.to_image.conv.bias)
    model.to_image.conv.weight.data[0, 0] = 1.0
    found = model.to_image(grid, (9, 9))[0, 0, 0]
    assert torch.allclose(found, torch.arange(9) / 2.0)
