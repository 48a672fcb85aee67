"""From a config to an encoder with its weights."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from models.backbones.config import LIBRARY_WEIGHTS, EncoderConfig
from models.backbones.drn import DRN_BLOCKS, drn_encoder
from models.backbones.encoder import Encoder, Tap, UncutEncoder
from models.backbones.resnet38 import ResNet38Encoder
from models.backbones.torchvision_stages import load_torchvision, torchvision_encoder
from models.backbones.vgg16_largefov import vgg16_largefov_encoder
from models.backbones.weights import encoder_part, load_into, load_state_dict
from models.errors import InvalidInputError
from models.images import CAFFE_NORMALISATION, IMAGENET_NORMALISATION, SYMMETRIC_NORMALISATION, Normalisation

NORMALISATIONS = {
    "imagenet": IMAGENET_NORMALISATION,
    "symmetric": SYMMETRIC_NORMALISATION,
    "caffe": CAFFE_NORMALISATION,
}
_PSA_FC6_DILATION = 4
_ANY_SIZE = ({"dynamic_img_size": True, "dynamic_img_pad": True}, {"dynamic_img_size": True})
"""What lets timm's transformers take images of any size: ViT and its relatives, Swin. Others know neither."""
T = TypeVar("T")


def build_encoder(config: EncoderConfig, *, load_weights: bool = True) -> Encoder:
    """Returns the encoder that `config` describes.

    Args:
        load_weights: False leaves it randomly initialised, for callers that load a checkpoint of their own.

    Raises:
        InvalidInputError: Unknown network, weights that do not fit, or no network to download them.
    """
    weights = config.weights if load_weights else None
    if config.name.startswith("timm/"):
        return _timm(config, weights)
    if config.name in {"resnet38", "vgg16_largefov", *DRN_BLOCKS}:
        return _own_network(config, weights)
    return _torchvision(config, weights)


def _torchvision(config: EncoderConfig, weights: str | None) -> Encoder:
    import torchvision  # only for those who use it: every process would pay for its import

    net = load_torchvision(config.name)
    if weights == "imagenet":
        net = downloaded(lambda: torchvision.models.get_model(config.name, weights="IMAGENET1K_V1"), config.name)
    normalisation = NORMALISATIONS.get(config.normalisation, IMAGENET_NORMALISATION)
    encoder = torchvision_encoder(net, config.output_stride, dilate=config.dilate, normalisation=normalisation)
    if weights == "coco":
        load_into(encoder.net, _coco_state(config.name), weights)
    elif weights not in (None, "imagenet"):
        load_into(encoder.net, encoder_part(load_state_dict(weights)), weights)
    return encoder


def _coco_state(name: str) -> dict[str, torch.Tensor]:
    """Returns the encoder of torchvision's DeepLab-v3 on that network, trained with MS-COCO's pixel labels."""
    import torchvision

    segmenters = torchvision.models.list_models(module=torchvision.models.segmentation)
    if f"deeplabv3_{name}" not in segmenters:
        msg = (
            f"encoder {name!r}: no library offers its MS-COCO weights (torchvision has them for resnet50 and "
            "resnet101); give a path in `weights`"
        )
        raise InvalidInputError(msg)
    weights = torchvision.models.get_model_weights(f"deeplabv3_{name}").DEFAULT
    state: dict[str, torch.Tensor] = downloaded(lambda: weights.get_state_dict(progress=False), name)
    return encoder_part(state)


def _own_network(config: EncoderConfig, weights: str | None) -> Encoder:
    if config.output_stride != 8:
        msg = f"encoder {config.name!r} has output stride 8 and no other; output_stride is {config.output_stride}"
        raise InvalidInputError(msg)
    if weights in LIBRARY_WEIGHTS:
        msg = (
            f"encoder {config.name!r}: no library offers its {weights} weights; give the path of the published file in "
            "`weights` (MXNet and Caffe files: `wsss data convert-weights`), or null for random initialisation"
        )
        raise InvalidInputError(msg)
    if config.name == "resnet38":
        encoder: Encoder = ResNet38Encoder(NORMALISATIONS.get(config.normalisation, IMAGENET_NORMALISATION))
    elif config.name in DRN_BLOCKS:
        encoder = drn_encoder(config.name, NORMALISATIONS.get(config.normalisation, IMAGENET_NORMALISATION))
    else:
        dilation = _PSA_FC6_DILATION if config.dilate else 1
        normalisation = NORMALISATIONS.get(config.normalisation, CAFFE_NORMALISATION)
        encoder = vgg16_largefov_encoder(fc6_dilation=dilation, normalisation=normalisation)
    if weights is not None:
        load_into(encoder.net, load_state_dict(weights), weights)
    return encoder


def _timm(config: EncoderConfig, weights: str | None) -> Encoder:
    import timm  # only for those who use it: every worker process would pay for its import
    from timm.models._features import FeatureListNet  # the class of what `features_only=True` returns

    name = config.name.removeprefix("timm/")
    if name.split(".")[0] not in timm.list_models():
        msg = f"encoder {config.name!r}: timm knows no such network (timm.list_models() lists them)"
        raise InvalidInputError(msg)
    if weights == "coco":
        msg = f"encoder {config.name!r}: no library offers its coco weights; give a path in `weights`"
        raise InvalidInputError(msg)
    options: dict[str, Any] = {"features_only": True, "pretrained": weights is not None}
    if weights not in (None, "imagenet"):
        options["pretrained_cfg_overlay"] = {"file": weights, "custom_load": False}
    net = downloaded(lambda: _timm_network(partial(timm.create_model, name, **options), config), config.name)
    info: Any = net.feature_info
    taps = [Tap(int(c), int(r)) for c, r in zip(info.channels(), info.reduction(), strict=True)]
    if isinstance(net, FeatureListNet):
        _pool_as_released(net)
        return Encoder(net, _stages(net), taps, _timm_normalisation(net, config))
    return UncutEncoder(net, taps, _timm_normalisation(net, config))


def _timm_network(create: Callable[..., Any], config: EncoderConfig) -> Any:
    """Returns the network at `config.output_stride`.

    Raises:
        InvalidInputError: It has one stride, and that is another.
    """
    try:
        return create(output_stride=config.output_stride)
    except (TypeError, AssertionError):  # it has no such option (transformers, DenseNet), or refuses this stride (VGG)
        net = _network_as_it_is(create)
    own_stride = net.feature_info.reduction()[-1]
    if own_stride != config.output_stride:
        msg = (
            f"encoder {config.name!r} has output stride {own_stride} and does not take {config.output_stride}: set "
            "output_stride to the former, or choose another encoder"
        )
        raise InvalidInputError(msg)
    return net


def _network_as_it_is(create: Callable[..., Any]) -> Any:
    """Returns the network at its own stride, for images of any size, with taps `[B, C, h, w]`."""
    net = _of_any_size(create)
    if getattr(net, "output_fmt", "NCHW") == "NHWC":  # as Swin: through timm's getter its taps have channels first
        net = _of_any_size(partial(create, feature_cls="getter"))
    return net


def _of_any_size(create: Callable[..., Any]) -> Any:
    for options in _ANY_SIZE:
        with suppress(TypeError):  # the network does not know them
            return create(**options)
    return create()


def _pool_as_released(net: Any) -> None:
    """Gives ResNeSt back the 3 x 3 pooling of blocks whose stride was taken away.

    The released code pools in the first block of layers 2 to 4 at any stride (`is_first`); timm never passes `is_first`
    and pools where there is a stride alone. Without it the late blocks would see what they were not pretrained on. The
    shortcut keeps timm's average of 2 x 2 cells: in every second cell both paths are those of the pretrained block.
    The release averages nothing there.

    Source: Zhang et al., ResNeSt (2020), released code, `resnest/torch/models/resnet.py`.
    """
    from timm.models.resnest import ResNestBottleneck

    firsts = [next(layer.children(), None) for name, layer in net.items() if name in ("layer2", "layer3", "layer4")]
    blocks = [block for block in firsts if isinstance(block, ResNestBottleneck)]
    for block in blocks:
        if block.avd_first is None and block.avd_last is None:
            place = "avd_last" if blocks[0].avd_first is None else "avd_first"  # layer 2 always has its stride
            setattr(block, place, nn.AvgPool2d(3, 1, padding=1))


def _stages(net: Any) -> list[list[str]]:
    stages: list[list[str]] = [[]]
    for name in net.keys():  # noqa: SIM118 - a ModuleDict is no dict
        stages[-1].append(name)
        if name in net.return_layers and len(stages) < len(net.return_layers):
            stages.append([])
    return stages


def _timm_normalisation(net: nn.Module, config: EncoderConfig) -> Normalisation:
    if config.normalisation != "auto":
        return NORMALISATIONS[config.normalisation]
    own = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", {})
    mean, std = own.get("mean"), own.get("std")
    return Normalisation(tuple(mean), tuple(std)) if mean and std else IMAGENET_NORMALISATION


def downloaded(create: Callable[[], T], name: str) -> T:
    """Returns what `create` loads from a hub; `name` is the encoder in messages.

    Raises:
        InvalidInputError: No weights, or the network does not take the options.
    """
    try:
        return create()
    except (OSError, RuntimeError) as error:  # urllib's URLError is an OSError; hubs wrap theirs in RuntimeError
        msg = (
            f"encoder {name!r}: its weights could not be loaded ({type(error).__name__}: {error}); on a machine "
            "without network, give a path in `weights`"
        )
        raise InvalidInputError(msg) from error
    except TypeError as error:
        msg = f"encoder {name!r} does not take an output stride; choose another ({error})"
        raise InvalidInputError(msg) from error
