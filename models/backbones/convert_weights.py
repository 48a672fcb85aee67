"""PSA's initial weights as state dicts: ResNet-38 from MXNet, VGG-16 LargeFOV from Caffe.

The files: `ilsvrc-cls_rna-a1_cls1000_ep-0001.params` (Wu, Shen, van den Hengel) and `vgg16_20M.caffemodel` (Chen et
al.). The mapping of names is that of PSA's released code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from models.backbones.build import build_encoder
from models.backbones.caffemodel import read_caffemodel
from models.backbones.config import EncoderConfig
from models.backbones.mxnet_params import read_mxnet_params
from models.backbones.weights import check_fit
from models.errors import InvalidInputError

_BATCH_NORM = MappingProxyType(
    {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_var": "running_var",
    }
)
_MXNET_BLOCK = re.compile(r"(?P<kind>res|bn)(?P<group>\d)(?:a|b(?P<index>\d+))_(?P<branch>branch\w+?)_(?P<what>\w+)")
_MXNET_HEAD = "linear1000"


def converted_weights(path: str | Path) -> tuple[str, dict[str, torch.Tensor]]:
    """Returns the encoder's name and its state dict, out of a `.params` or a `.caffemodel` file.

    Raises:
        InvalidInputError: Another kind of file, or its layers are not those of the encoder (each one is checked).
    """
    suffix = Path(path).suffix
    if suffix == ".params":
        name, state = "resnet38", resnet38_state(read_mxnet_params(path))
    elif suffix == ".caffemodel":
        name, state = "vgg16_largefov", vgg16_state(read_caffemodel(path))
    else:
        msg = f"weights {str(path)!r}: .params (MXNet, ResNet-38) and .caffemodel (Caffe, VGG-16) can be converted"
        raise InvalidInputError(msg)
    with torch.device("meta"):  # only names and shapes are compared: nothing is allocated
        encoder = build_encoder(EncoderConfig(name, weights=None, output_stride=8))
    check_fit(encoder.net, state, str(path))
    return name, state


def resnet38_state(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Returns ResNet-38's state dict under PSA's names, without the ImageNet classifier.

    Raises:
        InvalidInputError: An array has a name that the network has no place for.
    """
    state = {}
    for name, array in arrays.items():
        plain = name.split(":")[-1]
        if not plain.startswith(_MXNET_HEAD):
            state[_resnet38_key(plain)] = _tensor(array)
    return state


def vgg16_state(layers: Mapping[str, list[np.ndarray]]) -> dict[str, torch.Tensor]:
    """Returns VGG-16's state dict; Caffe's layer names are kept, biases lose their extra dimensions."""
    state = {}
    for name, blobs in layers.items():
        if len(blobs) != 2:
            raise InvalidInputError(f"layer {name!r} has {len(blobs)} blobs; weights and biases were expected")
        state[f"{name}.weight"] = _tensor(blobs[0])
        state[f"{name}.bias"] = _tensor(blobs[1].reshape(-1))
    return state


def _resnet38_key(name: str) -> str:
    """Returns PSA's name: `res3b1_branch2a_weight` is `b3_1.conv_branch2a.weight`, `bn7_gamma` is `bn7.weight`."""
    if name == "conv1a_weight":
        return "conv1a.weight"
    if name.startswith("bn7_"):
        return f"bn7.{_batch_norm_key(name, name.removeprefix('bn7_'))}"
    match = _MXNET_BLOCK.fullmatch(name)
    if match is None or (match["kind"] == "res" and match["what"] != "weight"):
        raise InvalidInputError(f"ResNet-38 (A1) has no array {name!r}")
    block = f"b{match['group']}" + (f"_{match['index']}" if match["index"] else "")
    if match["kind"] == "res":
        return f"{block}.conv_{match['branch']}.weight"
    return f"{block}.bn_{match['branch']}.{_batch_norm_key(name, match['what'])}"


def _batch_norm_key(name: str, what: str) -> str:
    if what not in _BATCH_NORM:
        raise InvalidInputError(f"array {name!r}: {what!r} is none of {', '.join(_BATCH_NORM)}")
    return _BATCH_NORM[what]


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))
