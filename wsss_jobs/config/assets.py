"""Weight files that a recipe names: identified by content, kept in the store, found again on any worker.

A path says nothing about what is in the file, and a worker on another node cannot read it. So before fingerprints are
made, every path or URI of weights becomes `sha256:<digest>`; the bytes go to the run's `assets/`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from models.backbones import EncoderConfig
from models.backbones.config import LIBRARY_WEIGHTS
from models.segmentation.config import DeepLabConfig
from wsss_jobs.config.network_file import NetworkFile
from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import read_uri

_PREFIX = "sha256:"
S = TypeVar("S")


def store_assets(config: S, store: ObjectStore) -> S:
    """Returns `config` with every weight file replaced by its digest, after the file was put into the store.

    Raises:
        ConfigError: A weight file cannot be read.
    """
    return _map_weights(config, lambda weights: _store(weights, store))


def localise_assets(config: S, store: ObjectStore, folder: Path) -> S:
    """Returns `config` with every digest replaced by a local file, downloaded into `folder` where it is not there."""
    return _map_weights(config, lambda weights: _localise(weights, store, folder))


def _store(weights: str, store: ObjectStore) -> str:
    if weights in LIBRARY_WEIGHTS or weights.startswith(_PREFIX):
        return weights
    try:
        data = read_uri(weights)
    except Exception as error:
        raise ConfigError(f"weights {weights!r} cannot be read: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    key = f"assets/{digest}.pt"
    if not store.exists(key):
        store.put(key, data)
    return _PREFIX + digest


def _localise(weights: str, store: ObjectStore, folder: Path) -> str:
    if not weights.startswith(_PREFIX):
        return weights
    path = folder / f"{weights.removeprefix(_PREFIX)}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        store.download(f"assets/{path.name}", path)
    return str(path)


def _map_weights(config: S, change: Callable[[str], str]) -> S:
    """Returns `config` with `change` applied to the `weights` of every network in it, however deep."""
    if isinstance(config, BaseModel):
        update: dict[str, Any] = {
            name: _map_weights(getattr(config, name), change) for name in type(config).model_fields
        }
        return config.model_copy(update=update)
    if is_dataclass(config) and not isinstance(config, type):
        changed = {f.name: _map_weights(getattr(config, f.name), change) for f in fields(config) if f.init}
        if isinstance(config, EncoderConfig | DeepLabConfig | NetworkFile) and config.weights is not None:
            changed["weights"] = change(config.weights)
        return replace(config, **changed)
    return config
