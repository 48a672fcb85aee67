"""torchvision classification networks as encoders: where to cut them, found by looking and not by a table of names."""

from collections.abc import Iterator

import torch
from torch import nn

from models.backbones.encoder import Encoder, Tap
from models.backbones.strides import remove_strides
from models.errors import InvalidInputError
from models.images import IMAGENET_NORMALISATION, Normalisation

_PROBE_SIZE_PX = 64
_RESNET_STAGES = (("conv1", "bn1", "relu"), ("maxpool", "layer1"), ("layer2",), ("layer3",), ("layer4",))


def torchvision_encoder(
    net: nn.Module, output_stride: int, *, dilate: bool, normalisation: Normalisation = IMAGENET_NORMALISATION
) -> Encoder:
    """Returns `net` without its classifier, cut behind the last layer of each stride.

    Raises:
        InvalidInputError: The network is of neither known layout (ResNet-like, or a `features` sequence).
    """
    stages, strides = _cut(net)
    channels = [count for count, _ in _probe(net, stages)]
    remove_strides(
        [
            (stride, net.get_submodule(name))
            for names, stride in zip(stages, strides, strict=True)
            for name in names
            if stride > output_stride
        ],
        output_stride,
        dilate=dilate,
    )
    for head in ("fc", "classifier", "avgpool"):
        if hasattr(net, head):
            delattr(net, head)
    taps = [Tap(count, min(stride, output_stride)) for count, stride in zip(channels, strides, strict=True)]
    return Encoder(net, stages, taps, normalisation)


def load_torchvision(name: str) -> nn.Module:
    """Returns the torchvision classification network `name`, randomly initialised.

    Raises:
        InvalidInputError: torchvision knows no such classification network.
    """
    import torchvision  # only for those who use it: every process would pay for its import

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        msg = f"encoder {name!r} is no torchvision classification network; for timm networks write 'timm/{name}'"
        raise InvalidInputError(msg)
    net: nn.Module = torchvision.models.get_model(name, weights=None)
    return net


def _cut(net: nn.Module) -> tuple[list[tuple[str, ...]], list[int]]:
    if all(hasattr(net, name) for stage in _RESNET_STAGES for name in stage):
        return [*_RESNET_STAGES], [2, 4, 8, 16, 32]
    features = getattr(net, "features", None)
    if isinstance(features, nn.Sequential) and type(net).__name__ != "DenseNet":
        return _cut_sequence(features)  # DenseNet is out: its forward goes on behind `features`
    msg = f"{type(net).__name__} is neither ResNet-like nor a `features` sequence; use its timm version ('timm/<name>')"
    raise InvalidInputError(msg)


def _cut_sequence(features: nn.Sequential) -> tuple[list[tuple[str, ...]], list[int]]:
    """Groups the children of `features` by the stride of their output; the full-resolution ones join stride 2."""
    groups: dict[int, list[str]] = {}
    for name, stride in _strides(features):
        groups.setdefault(max(stride, 2), []).append(f"features.{name}")
    return [tuple(names) for names in groups.values()], list(groups)


@torch.no_grad()
def _strides(features: nn.Sequential) -> Iterator[tuple[str, int]]:
    was_training = features.training
    features.eval()
    x = torch.zeros(1, 3, _PROBE_SIZE_PX, _PROBE_SIZE_PX)
    for name, module in features.named_children():
        x = module(x)
        yield name, _PROBE_SIZE_PX // x.shape[-1]
    features.train(was_training)


@torch.no_grad()
def _probe(net: nn.Module, stages: list[tuple[str, ...]]) -> list[tuple[int, int]]:
    was_training = net.training
    net.eval()
    x = torch.zeros(1, 3, _PROBE_SIZE_PX, _PROBE_SIZE_PX)
    sizes = []
    for names in stages:
        for name in names:
            x = net.get_submodule(name)(x)
        sizes.append((x.shape[1], _PROBE_SIZE_PX // x.shape[-1]))
    net.train(was_training)
    return sizes
