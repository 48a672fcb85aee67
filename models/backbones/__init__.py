"""Image encoders behind one interface."""

from typing import TYPE_CHECKING

from models.backbones.config import EncoderConfig
from models.on_demand import on_demand

if TYPE_CHECKING:
    from models.backbones.build import build_encoder
    from models.backbones.encoder import Encoder, Tap
else:
    __getattr__ = on_demand(__name__, {"build_encoder": "build", "Encoder": "encoder", "Tap": "encoder"})

__all__ = ["Encoder", "EncoderConfig", "Tap", "build_encoder"]
