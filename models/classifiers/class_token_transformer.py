"""A vision transformer with one token a class; its attention localises classes, and refines class maps.

Source: Xu et al., "Multi-class Token Transformer for Weakly Supervised Semantic Segmentation" (CVPR 2022),
MCTformer-V2. ACR (Kweon et al., CVPR 2023, section 5.4) refines its own CAMs by the attention between patches of such a
network.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import EncoderConfig
from models.classifiers.cam_network import CamNetwork
from models.classifiers.class_token_config import ClassTokenConfig
from models.classifiers.normalised_cam import min_max
from models.classifiers.patch_attention import patch_affinity, spread
from models.classifiers.timm_vit import load_vit, vit_normalisation
from models.images import Normalisation
from models.parameter_groups import BiasRule, parameter_groups


class ClassTokenTransformer(CamNetwork):
    """The network: C class tokens and h w patch tokens; a 3x3 convolution on the patches gives class maps too.

    Shapes:
        input `[B, 3, H, W]`, sides multiples of the patch; output: logits `[2, B, C]`, of the class tokens and of the
        patch head, each with a loss of its own.
    """

    def __init__(self, vit: Any, num_foreground: int, config: ClassTokenConfig) -> None:
        super().__init__()
        self.config = config
        self.num_foreground = num_foreground
        self.vit = _with_class_tokens(vit, num_foreground)
        self.patch_head = nn.Conv2d(vit.embed_dim, num_foreground, 3, padding=1)

    @property
    def encoder_config(self) -> EncoderConfig:
        """Stride, padding and alignment of the maps."""
        return self.config.encoder

    @property
    def normalisation(self) -> Normalisation:
        """The one that the network was trained with."""
        return vit_normalisation(self.vit, self.config.encoder)

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns logits: the mean of each class token, and the mean of each map of the patch head."""
        patches_BDhw, tokens_BCD = self._tokens(images_B3HW)
        return torch.stack([tokens_BCD.mean(dim=2), self.patch_head(patches_BDhw).mean(dim=(2, 3))])

    def class_maps(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns unnormalised CAMs, `[B, C, h, w]`, spread over similar patches where the config says so."""
        with self._recorded() as attention:
            patches_BDhw, _ = self._tokens(images_B3HW)
        maps_BChw = F.relu(self.patch_head(patches_BDhw))
        if self.config.maps != "patch":
            seen_BChw = self._class_to_patch(attention).view_as(maps_BChw)
            maps_BChw = seen_BChw if self.config.maps == "attention" else seen_BChw * maps_BChw
        return spread(maps_BChw, patch_affinity(attention, self.num_foreground)) if self.config.refine else maps_BChw

    def patch_affinity(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns P, `[B, N, N]`: the attention between patches, the mean over heads, summed over all layers."""
        with self._recorded() as attention:
            self._tokens(images_B3HW)
        return patch_affinity(attention, self.num_foreground)

    def normalised(self, cam_Khw: torch.Tensor) -> torch.Tensor:
        """Returns CAMs in [0, 1], each class from its least to its greatest value."""
        return min_max(cam_Khw)

    def parameter_groups(self, encoder_lr: float, head_lr: float, biases: BiasRule) -> list[dict[str, Any]]:
        """Returns optimizer groups of the transformer and the patch head."""
        return [
            *parameter_groups([self.vit], encoder_lr, biases, without=self.vit.norm.parameters()),
            *parameter_groups([self.patch_head], head_lr, biases),
        ]

    def _tokens(self, images_B3HW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns patches and class tokens of the last layer, before the final norm (it would level the means)."""
        [(patches, tokens)] = self.vit.forward_intermediates(
            images_B3HW, indices=1, return_prefix_tokens=True, norm=False, intermediates_only=True
        )
        return patches, tokens

    def _class_to_patch(self, attention: list[torch.Tensor]) -> torch.Tensor:
        num = self.num_foreground
        return torch.stack(attention[-self.config.attention_layers :]).sum(dim=0)[:, :num, num:]

    @contextmanager
    def _recorded(self) -> Iterator[list[torch.Tensor]]:
        """Fills a list with each layer's attention, the mean over heads, `[B, C + N, C + N]`."""
        layers = [block.attn for block in self.vit.blocks]
        fused = [layer.fused_attn for layer in layers]
        found: list[torch.Tensor] = []

        def record(_module: nn.Module, _inputs: Any, weights_BhNN: torch.Tensor) -> None:
            found.append(weights_BhNN.mean(dim=1))

        hooks = [layer.attn_drop.register_forward_hook(record) for layer in layers]
        for layer in layers:
            layer.fused_attn = False  # the fused kernel never shows its weights
        try:
            yield found
        finally:
            for layer, was_fused, hook in zip(layers, fused, hooks, strict=True):
                layer.fused_attn = was_fused
                hook.remove()


def build_class_token_transformer(
    config: ClassTokenConfig, num_foreground: int, *, load_weights: bool = True
) -> ClassTokenTransformer:
    """Returns the network; its class tokens start as copies of the pretrained one.

    Raises:
        InvalidInputError: timm has no such network, or it is no ViT with one class token.
    """
    vit = load_vit(config.encoder, config.drop_path, load_weights=load_weights)
    return ClassTokenTransformer(vit, num_foreground, config)


def _with_class_tokens(vit: Any, num_foreground: int) -> Any:
    """Returns the ViT with its class token, and the token's position, repeated for each class."""
    with torch.no_grad():
        vit.cls_token = nn.Parameter(vit.cls_token.repeat(1, num_foreground, 1))
        if not vit.no_embed_class:
            position, rest = vit.pos_embed[:, :1], vit.pos_embed[:, 1:]
            vit.pos_embed = nn.Parameter(torch.cat([position.repeat(1, num_foreground, 1), rest], dim=1))
    vit.num_prefix_tokens = num_foreground
    return vit
