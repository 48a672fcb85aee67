"""Whole networks to start from: other projects' names of the same layers, and a last layer of other classes.

Names: this project's; torchvision's DeepLab-v3 (`backbone.…`, `classifier.…`); DeepLab-v2 as kazuto1011/deeplab-pytorch
converted it from Caffe (`layer1.conv1.…`, `layer2.block1.reduce.…`, `aspp.c0.…`), the usual MS-COCO initialisation.
"""

import re
from collections.abc import Mapping

import torch

from models.errors import InvalidInputError
from models.segmentation.deeplab import DeepLab

_TORCHVISION = (
    (re.compile(r"(?:aux_classifier|fc\w*)\..*"), ""),  # of no use here: the auxiliary loss, ImageNet's classes
    (re.compile(r"backbone\.(.*)"), r"encoder.net.\1"),
    (re.compile(r"classifier\.(.*)"), r"head.\1"),
)
_CAFFE_UNITS = {"reduce": "1", "conv3x3": "2", "increase": "3"}
_CAFFE_STEM = re.compile(r"layer1\.conv1\.(conv|bn)\.(.*)")
_CAFFE_BLOCK = re.compile(r"layer(\d)\.block(\d+)\.(reduce|conv3x3|increase|shortcut|proj)\.(conv|bn)\.(.*)")
_CAFFE_PYRAMID = re.compile(r"aspp\.(?:stages\.)?c(\d)\.(.*)")
_WRAPPERS = re.compile(r"^(?:module\.|base\.|scale\.)+")


def load_initial_weights(model: DeepLab, state: Mapping[str, torch.Tensor], source: str) -> None:
    """Loads a whole network into `model`.

    What stays random: a last layer of another number of classes; the whole head, where the file has none.

    Raises:
        InvalidInputError: Another tensor of the network is missing or has another shape, or one is foreign.
    """
    given, own = own_names(state), model.state_dict()
    has_head = any(key.startswith("head.") for key in given)
    wanted = {
        key for key in own if (has_head or key.startswith("encoder.")) and not key.endswith("num_batches_tracked")
    }
    shared = given.keys() & own.keys()
    misfits = {key for key in shared if given[key].shape != own[key].shape}
    last = {key for key in misfits if _is_last_layer(given[key], own[key], model.num_classes)}
    missing, foreign = sorted(wanted - given.keys()), sorted(given.keys() - own.keys())
    if missing or foreign or misfits - last:
        msg = (
            f"weights {source!r} do not fit DeepLab {model.config.head} on {model.config.encoder.name}: "
            f"{len(missing)} missing {missing[:3]}, {len(foreign)} foreign {foreign[:3]}, "
            f"{len(misfits - last)} of another shape {sorted(misfits - last)[:3]}"
        )
        raise InvalidInputError(msg)
    model.load_state_dict({key: given[key] for key in shared - last}, strict=False)


def own_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the state with this project's names of layers; unknown names stay as they are."""
    renamed = {_own_name(_WRAPPERS.sub("", key)): value for key, value in state.items()}
    renamed.pop("", None)
    return renamed


def _own_name(key: str) -> str:
    for pattern, replacement in _TORCHVISION:
        if pattern.fullmatch(key):
            return pattern.sub(replacement, key)
    if found := _CAFFE_STEM.fullmatch(key):
        kind, rest = found.groups()
        return f"encoder.net.{kind}1.{rest}"
    if found := _CAFFE_PYRAMID.fullmatch(key):
        branch, rest = found.groups()
        return f"head.0.branches.{branch}.{rest}"
    return _caffe_block_name(key)


def _caffe_block_name(key: str) -> str:
    found = _CAFFE_BLOCK.fullmatch(key)
    if found is None:
        return key
    layer, block, unit, kind, rest = found.groups()
    place = f"encoder.net.layer{int(layer) - 1}.{int(block) - 1}"
    if unit in _CAFFE_UNITS:
        return f"{place}.{kind}{_CAFFE_UNITS[unit]}.{rest}"
    return f"{place}.downsample.{0 if kind == 'conv' else 1}.{rest}"


def _is_last_layer(given: torch.Tensor, own: torch.Tensor, num_classes: int) -> bool:
    """Whether only the number of classes, the first axis, differs."""
    return own.shape[0] == num_classes and given.shape[1:] == own.shape[1:]
