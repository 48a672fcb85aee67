"""VGG-16 LargeFOV as PSA uses it: output stride 8, dilated conv5, `fc6` and `fc7` as convolutions of 1024 channels.

Sources: Simonyan and Zisserman, ICLR 2015; Chen et al., DeepLab-LargeFOV, ICLR 2015; Ahn and Kwak, CVPR 2018 (PSA),
released code: 3x3 max-pools with padding, no pool5, `fc6` with dilation 1 in the classifier and 4 in AffinityNet.
Layers carry Caffe's names, so converted weights and PSA's checkpoints load as they are.
"""

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from models.backbones.encoder import Encoder, Tap
from models.images import CAFFE_NORMALISATION, Normalisation

_WIDTHS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "conv1": (64, 64),
        "conv2": (128, 128),
        "conv3": (256, 256, 256),
        "conv4": (512, 512, 512),
        "conv5": (512, 512, 512),
    }
)
_POOL_STRIDES: Mapping[str, int] = MappingProxyType({"conv2": 2, "conv3": 2, "conv4": 2, "conv5": 1})
_STAGES = (("conv1", "conv2"), ("conv3",), ("conv4",), ("conv5",), ("fc",))
_TAPS = (Tap(128, 2, "conv2"), Tap(256, 4, "conv3"), Tap(512, 8, "conv4"), Tap(512, 8, "conv5"), Tap(1024, 8, "fc7"))


def vgg16_largefov_encoder(*, fc6_dilation: int = 1, normalisation: Normalisation = CAFFE_NORMALISATION) -> Encoder:
    """Returns the encoder, randomly initialised; every tap is behind a ReLU.

    Args:
        fc6_dilation: 1 in PSA's classifier, 4 in its AffinityNet; the weights are the same.
        normalisation: The weights want BGR pixels in 0..255 minus their means.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    groups: dict[str, list[str]] = {}
    in_channels = 3
    for group, widths in _WIDTHS.items():
        made = _convolutions(group, in_channels, widths)
        layers.update(made)
        groups[group] = list(made)
        in_channels = widths[-1]
    fully_connected = _fully_connected(fc6_dilation)
    layers.update(fully_connected)
    groups["fc"] = list(fully_connected)
    stages = [[name for group in stage for name in groups[group]] for stage in _STAGES]
    return Encoder(nn.Sequential(layers), stages, _TAPS, normalisation)


def _convolutions(group: str, in_channels: int, widths: tuple[int, ...]) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if group in _POOL_STRIDES:
        layers[f"pool{int(group[-1]) - 1}"] = nn.MaxPool2d(3, _POOL_STRIDES[group], padding=1)
    dilation = 2 if group == "conv5" else 1
    for index, width in enumerate(widths, start=1):
        layers[f"{group}_{index}"] = nn.Conv2d(in_channels, width, 3, padding=dilation, dilation=dilation)
        layers[f"relu{group[-1]}_{index}"] = nn.ReLU()
        in_channels = width
    return layers


def _fully_connected(fc6_dilation: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        fc6=nn.Conv2d(512, 1024, 3, padding=fc6_dilation, dilation=fc6_dilation),
        relu6=nn.ReLU(),
        drop6=nn.Dropout2d(0.5),
        fc7=nn.Conv2d(1024, 1024, 1),
        relu7=nn.ReLU(),
    )
