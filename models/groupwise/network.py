"""The group-wise classifier: images as nodes, iterative message passing, class maps before and behind it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.backbones import Encoder, build_encoder
from models.errors import InvalidInputError
from models.groupwise.co_attention import CoAttention
from models.groupwise.config import GroupwiseConfig
from models.groupwise.conv_gru import ConvGRU
from models.groupwise.edge_readout import EdgeReadout
from models.groupwise.graph_dropout import GraphDropout
from models.groupwise.node_features import NodeFeatures
from models.groupwise.self_attention import SelfEdge
from models.parameter_groups import BiasRule, parameter_groups

_INIT_STD = 0.01


@dataclass(frozen=True)
class GroupOutput:
    """Class logits of groups; None where the network has no such read-out.

    Attributes:
        graph_GKL: Of the images, behind the graph (Eq. 9).
        intermediate_GKL: Of the images, before it (Eq. 10).
        edge_GKKL: Of what two images have in common; [g, i, j] of image i with image j. The diagonal is 0.
    """

    graph_GKL: torch.Tensor | None
    intermediate_GKL: torch.Tensor | None
    edge_GKKL: torch.Tensor | None


@dataclass(frozen=True)
class GroupMaps:
    """Class maps of groups, signed; None where the network has no such read-out.

    Attributes:
        graph_GKLhw: q, behind the graph.
        intermediate_GKLhw: d, before it.
    """

    graph_GKLhw: torch.Tensor | None
    intermediate_GKLhw: torch.Tensor | None


class GroupwiseNet(nn.Module):
    """The network. Channel l of a map is class id l + 1: the background has no tag and no channel.

    Shapes:
        images_GK3HW: G groups of up to K normalised images; present_GK: bool, False where a group has fewer.
    """

    def __init__(self, encoder: Encoder, num_foreground: int, config: GroupwiseConfig) -> None:
        super().__init__()
        if num_foreground < 1:
            msg = f"a classifier needs at least one foreground class; got {num_foreground}"
            raise InvalidInputError(msg)
        self.config = config
        self.num_foreground = num_foreground
        self.node_features = NodeFeatures(encoder, config, num_foreground)
        channels = self.node_features.channels
        has_graph = config.num_steps > 0 and (config.has_messages or config.self_edge)
        self.co_attention = _co_attention(channels, config)
        self.self_edge = SelfEdge(channels, config.similarity) if has_graph and config.self_edge else None
        self.gru = ConvGRU(channels, config.gru_kernel) if has_graph else None
        self.dropout = GraphDropout(config.dropout) if has_graph and config.dropout is not None else None
        self.graph_head = _head(channels, num_foreground, config) if config.loss.graph > 0 else None
        self.intermediate_head = _head(channels, num_foreground, config) if config.loss.intermediate > 0 else None
        self.edge_readout = _edge_readout(channels, num_foreground, config)
        if config.init == "small":
            self._draw_small_weights()

    @property
    def encoder(self) -> Encoder:
        """The image encoder."""
        return self.node_features.encoder

    def forward(self, images_GK3HW: torch.Tensor, present_GK: torch.Tensor) -> GroupOutput:
        """Returns the logits; those of absent images mean nothing."""
        first_GKChw = self._encoded(images_GK3HW, present_GK)
        last_GKChw = self.propagate(first_GKChw, present_GK)
        maps = self._maps(first_GKChw, last_GKChw)
        return GroupOutput(_pooled(maps.graph_GKLhw), _pooled(maps.intermediate_GKLhw), self._edges(last_GKChw))

    def nodes(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns the first state of single images' nodes, `[B, C, h, w]`."""
        nodes_BChw: torch.Tensor = self.node_features(images_B3HW)
        return nodes_BChw

    def class_maps(self, nodes_GKChw: torch.Tensor, present_GK: torch.Tensor) -> GroupMaps:
        """Returns the maps of nodes that `nodes` made."""
        return self._maps(nodes_GKChw, self.propagate(nodes_GKChw, present_GK))

    def propagate(self, nodes_GKChw: torch.Tensor, present_GK: torch.Tensor) -> torch.Tensor:
        """Returns the nodes behind T steps of message passing (Eqs. 7, 8 and 2)."""
        if self.gru is None:
            return nodes_GKChw
        for step in range(self.config.num_steps):
            messages = self.messages(nodes_GKChw, present_GK)
            updated = self.gru(messages.flatten(0, 1), nodes_GKChw.flatten(0, 1))
            is_last = step == self.config.num_steps - 1
            if self.dropout is not None and (not is_last or self.dropout.config.before_readout):
                updated = self.dropout(updated)
            nodes_GKChw = updated.view_as(nodes_GKChw)
        return nodes_GKChw

    def messages(self, nodes_GKChw: torch.Tensor, present_GK: torch.Tensor) -> torch.Tensor:
        """Returns what each node hears: the sum over the other images, and its self-edge (Eq. 8)."""
        rows_GKNC = _rows(nodes_GKChw)
        heard_GKNC = torch.zeros_like(rows_GKNC)
        if self.co_attention is not None:
            heard_GKNC = self.co_attention(rows_GKNC, present_GK)
        if self.self_edge is not None:
            heard_GKNC = heard_GKNC + self.self_edge(rows_GKNC.flatten(0, 1)).view_as(rows_GKNC)
        return heard_GKNC.transpose(2, 3).reshape(nodes_GKChw.shape)

    def parameter_groups(
        self, encoder_lr: float, new_lr: float, biases: BiasRule | None = None
    ) -> list[dict[str, Any]]:
        """Returns optimizer groups of what the gradient reaches: encoder stages in use, and all new layers."""
        config, encoder = self.config, self.encoder
        frozen = [] if config.train_batch_norm_affine else encoder.batch_norm_parameters()
        frozen += encoder.stage_parameters(min(config.frozen_stages, encoder.num_stages))
        used = {id(parameter) for parameter in encoder.stage_parameters(self.node_features.used_stages())}
        frozen += [parameter for parameter in encoder.parameters() if id(parameter) not in used]
        rule = biases or BiasRule()
        groups = [
            *parameter_groups([encoder], encoder_lr, rule, without=frozen),
            *parameter_groups([self], new_lr, rule, without=encoder.parameters()),
        ]
        return [group for group in groups if group["params"]]

    def _encoded(self, images_GK3HW: torch.Tensor, present_GK: torch.Tensor) -> torch.Tensor:
        """Encodes the images that are there; absent ones become zeros."""
        found_BChw = self.nodes(images_GK3HW[present_GK])
        nodes = found_BChw.new_zeros((*present_GK.shape, *found_BChw.shape[1:]))
        nodes[present_GK] = found_BChw
        return nodes

    def _maps(self, first_GKChw: torch.Tensor, last_GKChw: torch.Tensor) -> GroupMaps:
        return GroupMaps(_applied(self.graph_head, last_GKChw), _applied(self.intermediate_head, first_GKChw))

    def _edges(self, nodes_GKChw: torch.Tensor) -> torch.Tensor | None:
        if self.edge_readout is None:
            return None
        rows_GKNC = _rows(nodes_GKChw)
        num_groups, size = rows_GKNC.shape[:2]
        logits_GKKL = rows_GKNC.new_zeros(num_groups, size, size, self.num_foreground)
        for first in range(size):
            for second in range(first + 1, size):
                there, back = self.edge_readout(rows_GKNC[:, first], rows_GKNC[:, second])
                logits_GKKL[:, first, second], logits_GKKL[:, second, first] = there, back
        return logits_GKKL

    def _draw_small_weights(self) -> None:
        within_encoder = set(self.encoder.modules())
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module not in within_encoder:
                nn.init.normal_(module.weight, std=_INIT_STD)


def build_groupwise(config: GroupwiseConfig, num_foreground: int, *, load_weights: bool = True) -> GroupwiseNet:
    """Returns the network; all but its encoder is randomly initialised."""
    return GroupwiseNet(build_encoder(config.encoder, load_weights=load_weights), num_foreground, config)


def _co_attention(channels: int, config: GroupwiseConfig) -> CoAttention | None:
    if not config.has_messages:
        return None
    return CoAttention(
        channels,
        config.reduction,
        config.co_attention,
        gate=config.message_gate,
        similarity=config.similarity,
        average=config.average_messages,
    )


def _edge_readout(channels: int, num_foreground: int, config: GroupwiseConfig) -> EdgeReadout | None:
    if not config.has_edge_supervision:
        return None
    return EdgeReadout(channels, num_foreground, scale=config.scale_edge_attention)


def _head(channels: int, num_foreground: int, config: GroupwiseConfig) -> nn.Module:
    if config.node_state == "class_maps":
        return nn.Identity()
    return nn.Conv2d(channels, num_foreground, kernel_size=1, bias=False)


def _rows(nodes_GKChw: torch.Tensor) -> torch.Tensor:
    return nodes_GKChw.flatten(3).transpose(2, 3)


def _applied(head: nn.Module | None, nodes_GKChw: torch.Tensor) -> torch.Tensor | None:
    return None if head is None else head(nodes_GKChw.flatten(0, 1)).unflatten(0, nodes_GKChw.shape[:2])


def _pooled(maps_GKLhw: torch.Tensor | None) -> torch.Tensor | None:
    return None if maps_GKLhw is None else maps_GKLhw.mean(dim=(3, 4))
