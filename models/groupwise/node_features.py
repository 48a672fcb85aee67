"""From an encoder's layers to the first state of the nodes."""

from collections.abc import Sequence

import torch
from torch import nn

from models.backbones import Encoder
from models.errors import InvalidInputError
from models.groupwise.config import GroupwiseConfig

_PROBE_SIZE_PX = 65


class NodeFeatures(nn.Module):
    """Runs an encoder as far as it is needed, and brings its layers to the nodes' channels.

    Shapes:
        images_B3HW: normalised; returns `[B, channels, h, w]`.
    """

    def __init__(self, encoder: Encoder, config: GroupwiseConfig, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.trains_batch_norm = config.train_batch_norm
        self._detach_after = config.frozen_stages
        self._layers = _layer_names(encoder, config.layers)
        widths = _widths(encoder, self._layers, config)
        self.projections = nn.ModuleList(_projections(widths, config.node_channels))
        self.head = _class_maps(config.node_channels, num_classes) if config.node_state == "class_maps" else None
        self.channels = config.node_channels if self.head is None else num_classes

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns the first state of the nodes."""
        outputs = self._run(images_B3HW)
        projected = [project(x) for project, x in zip(self.projections, outputs, strict=True)]
        nodes_BChw = torch.stack(projected).sum(dim=0)
        return nodes_BChw if self.head is None else self.head(nodes_BChw)

    def used_stages(self) -> int:
        """Returns how many of the encoder's stages are run."""
        if not self._layers:
            return self.encoder.num_stages
        ends = _stage_of_each_layer(self.encoder)
        return max(ends[name] for name in self._layers) + 1

    def _run(self, images_B3HW: torch.Tensor) -> list[torch.Tensor]:
        if not self._layers:
            return [self.encoder(images_B3HW, detach_after=self._detach_after)[-1]]
        return run_layers(self.encoder, images_B3HW, self._layers, self._detach_after)


def run_layers(
    encoder: Encoder, images_B3HW: torch.Tensor, layers: Sequence[str], detach_after: int = 0
) -> list[torch.Tensor]:
    """Returns the outputs of the named layers; those behind the last of them are not run."""
    kept: dict[str, torch.Tensor] = {}
    features = images_B3HW
    stage_of = _stage_of_each_layer(encoder)
    modules = [module for index in range(encoder.num_stages) for module in encoder.stage_modules(index)]
    previous = 0
    for name, module in zip(encoder.layer_names, modules, strict=True):
        if previous < detach_after <= stage_of[name]:
            features = features.detach()
        previous = stage_of[name]
        features = module(features)
        if name in layers:
            kept[name] = features
        if len(kept) == len(layers):
            break
    if detach_after > previous:  # all that was run is frozen
        kept = {name: value.detach() for name, value in kept.items()}
    return [kept[name] for name in layers]


def _stage_of_each_layer(encoder: Encoder) -> dict[str, int]:
    counts = [len(encoder.stage_modules(index)) for index in range(encoder.num_stages)]
    stages = [index for index, count in enumerate(counts) for _ in range(count)]
    return dict(zip(encoder.layer_names, stages, strict=True))


def _layer_names(encoder: Encoder, wanted: Sequence[str]) -> tuple[str, ...]:
    """Returns the layers; a tap is the last layer of its stage.

    Raises:
        InvalidInputError: The encoder has no such layer or tap.
    """
    last = {stage: name for name, stage in _stage_of_each_layer(encoder).items()} if encoder.layer_names else {}
    taps = {tap.name: last[index] for index, tap in enumerate(encoder.taps) if tap.name and index in last}
    for name in wanted:
        if name not in encoder.layer_names and name not in taps:
            known = ", ".join([*taps, *encoder.layer_names]) or "none: this network cannot be cut"
            msg = f"layers: the encoder has no layer or tap {name!r}; it has {known}"
            raise InvalidInputError(msg)
    return tuple(taps.get(name, name) for name in wanted)


@torch.no_grad()
def _widths(encoder: Encoder, layers: Sequence[str], config: GroupwiseConfig) -> list[int]:
    """Returns the channels of each layer.

    Raises:
        InvalidInputError: Layers of different strides.
    """
    if not layers:
        return [encoder.taps[-1].channels]
    was_training = encoder.training
    outputs = run_layers(encoder.eval(), torch.zeros(1, 3, _PROBE_SIZE_PX, _PROBE_SIZE_PX), layers)
    encoder.train(was_training)
    sizes = [tuple(output.shape[2:]) for output in outputs]
    if len(set(sizes)) > 1:
        msg = f"layers: {list(config.layers)} have different strides (grids {sizes} of one image); take one stride"
        raise InvalidInputError(msg)
    return [output.shape[1] for output in outputs]


def _projections(widths: Sequence[int], channels: int) -> list[nn.Module]:
    if list(widths) == [channels]:
        return [nn.Identity()]  # VGG-16's conv5 is the node
    return [nn.Sequential(nn.Conv2d(width, channels, kernel_size=1), nn.ReLU()) for width in widths]


def _class_maps(channels: int, num_classes: int) -> nn.Module:
    hidden = [module for _ in range(3) for module in (nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Conv2d(channels, num_classes, kernel_size=1))
