"""Image encoders behind one interface."""

from models.backbones.build import build_encoder
from models.backbones.config import EncoderConfig
from models.backbones.encoder import Encoder, Tap

__all__ = ["Encoder", "EncoderConfig", "Tap", "build_encoder"]
