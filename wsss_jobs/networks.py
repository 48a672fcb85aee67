"""Network files: a config and a state dict in one `model.pt`, loadable with `weights_only=True`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from pydantic import TypeAdapter
from torch import nn

from models.adversarial.classifier import AcrClassifier, build_acr_classifier
from models.adversarial.config import AcrClassifierConfig, ReconstructorConfig
from models.adversarial.reconstructor import Reconstructor, build_reconstructor
from models.affinity.affinitynet import AffinityNet, build_affinitynet
from models.affinity.config import AffinityNetConfig
from models.affinity.irnet import IRNet
from models.backbones import Encoder, EncoderConfig, build_encoder
from models.classifiers.cam import CamClassifier, build_cam_classifier
from models.classifiers.class_token_config import ClassTokenConfig
from models.classifiers.class_token_transformer import ClassTokenTransformer, build_class_token_transformer
from models.classifiers.config import CamClassifierConfig
from models.classifiers.isim import IsimNetwork, build_isim
from models.classifiers.isim_config import IsimConfig
from models.groupwise import GroupwiseConfig, GroupwiseNet, build_groupwise
from models.segmentation import DeepLab, DeepLabConfig, build_deeplab
from wsss_jobs.errors import StageError
from wsss_jobs.training.task import TrainingState

_FORMAT = 1
Network = TypeVar("Network", bound=nn.Module)

Classifier = CamClassifier | AcrClassifier | ClassTokenTransformer
"""The networks that CAMs are inferred with."""


class _Maker(NamedTuple):
    network: type[Classifier]
    config: type[Any]
    build: Callable[..., Any]


_CLASSIFIERS = {
    "cam_classifier": _Maker(CamClassifier, CamClassifierConfig, build_cam_classifier),
    "acr_classifier": _Maker(AcrClassifier, AcrClassifierConfig, build_acr_classifier),
    "class_token_transformer": _Maker(ClassTokenTransformer, ClassTokenConfig, build_class_token_transformer),
}


def save_classifier(model: Classifier, path: Path) -> None:
    """Writes the classifier, of whichever kind, and what is needed to build it again."""
    [kind] = [kind for kind, maker in _CLASSIFIERS.items() if type(model) is maker.network]
    _save(path, kind, asdict(model.config), model, num_foreground=model.num_foreground)


def load_classifier(path: Path) -> Classifier:
    """Returns the classifier of `save_classifier`, of whichever kind, or that of `save_isim`; evaluation mode, CPU."""
    kind = _kind(path)
    return _load_classifier(path, kind) if kind in _CLASSIFIERS else load_cam_classifier(path)


def load_cam_classifier(path: Path) -> CamClassifier:
    """Returns the `CamClassifier` of `save_classifier`, or that of `save_isim`, in evaluation mode, on the CPU.

    Raises:
        StageError: It is a classifier of another kind.
    """
    if _kind(path) == "isim":
        return load_isim(path)[0].classifier
    return cast("CamClassifier", _load_classifier(path, "cam_classifier"))


def load_transformer(path: Path) -> ClassTokenTransformer:
    """Returns the class-token transformer of `save_classifier`, in evaluation mode, on the CPU."""
    return cast("ClassTokenTransformer", _load_classifier(path, "class_token_transformer"))


def _load_classifier(path: Path, kind: str) -> Classifier:
    maker = _CLASSIFIERS[kind]
    stored = _load(path, kind)
    model: Classifier = _rebuilt(stored, maker.config, maker.build, stored["num_foreground"])
    return model


def save_reconstructor(model: Reconstructor, path: Path) -> None:
    """Writes the reconstructor and what is needed to build it again."""
    _save(path, "reconstructor", asdict(model.config), model, num_classes=model.num_classes)


def load_reconstructor(path: Path) -> Reconstructor:
    """Returns the network of `save_reconstructor`, in evaluation mode, on the CPU."""
    stored = _load(path, "reconstructor")
    return _rebuilt(stored, ReconstructorConfig, build_reconstructor, stored["num_classes"])


def save_isim(model: IsimNetwork, state: TrainingState, path: Path) -> None:
    """Writes the network, and what a training that goes on from here needs."""
    num_foreground = model.classifier.head.out_channels
    _save(path, "isim", asdict(model.config), model, num_foreground=num_foreground, training=asdict(state))


def load_isim(path: Path) -> tuple[IsimNetwork, TrainingState]:
    """Returns the network of `save_isim`, in evaluation mode, on the CPU, and where its training stood."""
    stored = _load(path, "isim")
    model = _rebuilt(stored, IsimConfig, build_isim, stored["num_foreground"])
    return model, TrainingState(**stored["training"])


def load_classifier_encoder(path: Path) -> tuple[EncoderConfig, Encoder]:
    """Returns the encoder of a classifier's file, of whichever kind, and its config.

    Raises:
        StageError: The classifier has no encoder with taps.
    """
    if _kind(path) == "groupwise":
        groupwise = load_groupwise(path)
        return groupwise.config.encoder, groupwise.encoder
    classifier = load_classifier(path)
    if isinstance(classifier, ClassTokenTransformer):
        raise StageError("encoder: null takes the classifier's, and a transformer has no taps; name an encoder instead")
    return classifier.config.encoder, classifier.encoder


def save_groupwise(model: GroupwiseNet, path: Path) -> None:
    """Writes the network and what is needed to build it again."""
    _save(path, "groupwise", asdict(model.config), model, num_foreground=model.num_foreground)


def load_groupwise(path: Path) -> GroupwiseNet:
    """Returns the network of `save_groupwise`, in evaluation mode, on the CPU."""
    stored = _load(path, "groupwise")
    return _rebuilt(stored, GroupwiseConfig, build_groupwise, stored["num_foreground"])


def save_irnet(model: IRNet, encoder: EncoderConfig, path: Path) -> None:
    """Writes encoder and heads."""
    _save(path, "irnet", asdict(encoder), model, with_displacement=model.displacement is not None)


def load_irnet(path: Path) -> tuple[IRNet, EncoderConfig]:
    """Returns the network of `save_irnet`, in evaluation mode, on the CPU, and its encoder's config."""
    stored = _load(path, "irnet")
    encoder = TypeAdapter(EncoderConfig).validate_python(stored["config"])
    model = IRNet(build_encoder(encoder, load_weights=False), with_displacement=stored["with_displacement"])
    model.load_state_dict(stored["state_dict"])
    return _ready(model), encoder


def save_affinitynet(model: AffinityNet, path: Path) -> None:
    """Writes the network and what is needed to build it again."""
    _save(path, "affinitynet", asdict(model.config), model)


def load_affinitynet(path: Path) -> AffinityNet:
    """Returns the network of `save_affinitynet`, in evaluation mode, on the CPU."""
    stored = _load(path, "affinitynet")
    return _rebuilt(stored, AffinityNetConfig, build_affinitynet)


def save_deeplab(model: DeepLab, path: Path) -> None:
    """Writes the network and what is needed to build it again."""
    _save(path, "deeplab", asdict(model.config), model, num_classes=model.num_classes)


def load_deeplab(path: Path) -> DeepLab:
    """Returns the network of `save_deeplab`, in evaluation mode, on the CPU."""
    stored = _load(path, "deeplab")
    return _rebuilt(stored, DeepLabConfig, build_deeplab, stored["num_classes"])


def load_affinity(path: Path) -> tuple[IRNet | AffinityNet, EncoderConfig]:
    """Returns the affinity network of a file, whichever of the two it holds, and its encoder's config."""
    if _kind(path) != "affinitynet":
        return load_irnet(path)
    model = load_affinitynet(path)
    return model, model.config.encoder


def _rebuilt(stored: Mapping[str, Any], config_type: type[Any], build: Callable[..., Network], *sizes: int) -> Network:
    """Returns the network of a file's content, ready for inference; `build` takes its config and then `sizes`."""
    config = TypeAdapter(config_type).validate_python(stored["config"])
    model = build(config, *sizes, load_weights=False)
    model.load_state_dict(stored["state_dict"])
    return _ready(model)


def _ready(model: Network) -> Network:
    """Returns the network for inference; convolutions are fastest with channels last, on CPU and GPU."""
    return model.eval().to(memory_format=torch.channels_last)


def _save(path: Path, kind: str, config: dict[str, Any], model: nn.Module, **extra: Any) -> None:
    content = {"format": _FORMAT, "kind": kind, "config": json.dumps(config), "state_dict": model.state_dict(), **extra}
    torch.save(content, path)


def _kind(path: Path) -> str | None:
    kind: str | None = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get("kind")
    return kind


def _load(path: Path, kind: str) -> dict[str, Any]:
    stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if stored.get("kind") != kind or stored.get("format") != _FORMAT:
        raise StageError(
            f"{path} holds {stored.get('kind')!r} of format {stored.get('format')}; expected {kind!r} of {_FORMAT}"
        )
    return {**stored, "config": json.loads(stored["config"])}
