"""A class-token transformer as a config, and what its CAMs are; apart from the network, which needs torch."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from models.backbones.config import EncoderConfig
from models.errors import InvalidInputError


def _deit_small() -> EncoderConfig:
    return EncoderConfig("timm/deit_small_patch16_224", output_stride=16, size_multiple=16)


@dataclass(frozen=True)
class ClassTokenConfig:
    """The network and what its CAMs are.

    Attributes:
        encoder: A ViT or DeiT of timm with a class token and patches of 16 pixels; `size_multiple: 16` lets inference
            take any image.
        attention_layers: The attention of class tokens to patches is summed over so many last layers. 3: MCTformer-V2.
        maps: `fused`: that attention times the maps of the patch head (MCTformer-V2); `patch` or `attention`: one of
            them.
        refine: Spread the maps by the attention between patches, summed over all layers.
        drop_path: Probability that a layer is skipped in training. 0.1: MCTformer.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    encoder: EncoderConfig = field(default_factory=_deit_small)
    attention_layers: int = 3
    maps: Literal["fused", "patch", "attention"] = "fused"
    refine: bool = True
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        if self.attention_layers < 1:
            raise InvalidInputError(f"attention_layers must be at least 1; got {self.attention_layers}")
        if not 0.0 <= self.drop_path < 1.0:
            raise InvalidInputError(f"drop_path must be in [0, 1); got {self.drop_path}")
