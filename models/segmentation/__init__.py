"""Semantic segmentation networks of the DeepLab family, their losses and their inference."""

from models.segmentation.build import build_deeplab
from models.segmentation.config import DeepLabConfig
from models.segmentation.deeplab import DeepLab

__all__ = ["DeepLab", "DeepLabConfig", "build_deeplab"]
