"""State dicts from files, with errors that say which keys do not fit."""

from pathlib import Path

import torch
from torch import nn

from models.errors import InvalidInputError

_UNUSED_PREFIXES = ("fc.", "classifier.", "head.", "fc8")  # heads: torchvision, timm, PSA and Caffe


def load_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a state dict file (`torch.save`d, loaded with `weights_only=True`).

    Raises:
        InvalidInputError: No such file, or it holds something else.
    """
    file = Path(path)
    if not file.is_file():
        msg = f"weights {str(path)!r}: no such file; give a path, 'imagenet', or null for random initialisation"
        raise InvalidInputError(msg)
    loaded = torch.load(file, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        msg = f"weights {str(path)!r} hold no state dict (a mapping of names to tensors)"
        raise InvalidInputError(msg)
    return loaded


def encoder_part(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the encoder's tensors of a torchvision segmentation network (`backbone.…`); any other state as it is."""
    prefix = "backbone."
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return found or state


def load_into(net: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Loads `state` into `net` (whose classifier may be gone already).

    Raises:
        InvalidInputError: See `check_fit`.
    """
    check_fit(net, state, source)
    own = net.state_dict()
    net.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def check_fit(net: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Compares names and shapes; nothing is loaded.

    Raises:
        InvalidInputError: A parameter of `net` has no value in `state`, or one of another shape; or `state` has
            tensors that are neither the network's nor its classifier's.
    """
    own = net.state_dict()
    missing = sorted(own.keys() - state.keys() - {key for key in own if key.endswith("num_batches_tracked")})
    foreign = sorted(key for key in state.keys() - own.keys() if not key.startswith(_UNUSED_PREFIXES))
    misfits = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    if missing or foreign or misfits:
        msg = (
            f"weights {source!r} do not fit {type(net).__name__}: {len(missing)} missing {missing[:3]}, "
            f"{len(foreign)} foreign {foreign[:3]}, {len(misfits)} of another shape {misfits[:3]}"
        )
        raise InvalidInputError(msg)
