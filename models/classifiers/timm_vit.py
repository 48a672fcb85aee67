"""Plain vision transformers of timm, whole: with their tokens and blocks, not as an encoder with taps."""

from typing import Any

from models.backbones import EncoderConfig
from models.backbones.build import NORMALISATIONS, downloaded
from models.errors import InvalidInputError
from models.images import IMAGENET_NORMALISATION, Normalisation


def load_vit(config: EncoderConfig, drop_path: float, *, load_weights: bool = True) -> Any:
    """Returns a ViT without its classifier, for images of any size that is a multiple of its patch.

    Raises:
        InvalidInputError: timm knows no such network, or it is no ViT with one class token and learnt positions, or its
            patch is not the config's stride.
    """
    import timm  # only for those who use it: every worker process would pay for its import
    from timm.models.vision_transformer import VisionTransformer

    name = config.name.removeprefix("timm/")
    if not config.name.startswith("timm/") or name.split(".")[0] not in timm.list_models():
        msg = f"encoder {config.name!r}: timm knows no such network; write 'timm/<name>' of one of timm.list_models()"
        raise InvalidInputError(msg)
    weights = config.weights if load_weights else None
    options: dict[str, Any] = {"num_classes": 0, "drop_path_rate": drop_path, "dynamic_img_size": True}
    if weights not in (None, "imagenet"):
        options["pretrained_cfg_overlay"] = {"file": weights, "custom_load": False}
    vit = downloaded(lambda: timm.create_model(name, pretrained=weights is not None, **options), config.name)
    _check(vit, config, VisionTransformer)
    return vit


def vit_normalisation(vit: Any, config: EncoderConfig) -> Normalisation:
    """Returns what the config names, or for `auto` what the network's own configuration says."""
    if config.normalisation != "auto":
        return NORMALISATIONS[config.normalisation]
    own = getattr(vit, "pretrained_cfg", None) or {}
    mean, std = own.get("mean"), own.get("std")
    return Normalisation(tuple(mean), tuple(std)) if mean and std else IMAGENET_NORMALISATION


def _check(vit: Any, config: EncoderConfig, kind: Any) -> None:
    is_plain = isinstance(vit, kind) and vit.cls_token is not None and vit.num_prefix_tokens == 1
    if not is_plain or vit.pos_embed is None:
        msg = f"encoder {config.name!r} is no ViT with one class token and learnt positions; take a deit_* or vit_*"
        raise InvalidInputError(f"{msg} without distillation and register tokens")
    if vit.patch_embed.patch_size != (config.output_stride, config.output_stride):
        msg = f"encoder {config.name!r} has patches of {vit.patch_embed.patch_size} pixels"
        raise InvalidInputError(f"{msg}; output_stride is {config.output_stride} and must be the same")
