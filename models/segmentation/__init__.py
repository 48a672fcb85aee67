"""Semantic segmentation networks of the DeepLab family, their losses and their inference."""

from typing import TYPE_CHECKING

from models.on_demand import on_demand
from models.segmentation.config import DeepLabConfig

if TYPE_CHECKING:
    from models.segmentation.build import build_deeplab
    from models.segmentation.deeplab import DeepLab
else:
    __getattr__ = on_demand(__name__, {"build_deeplab": "build", "DeepLab": "deeplab"})

__all__ = ["DeepLab", "DeepLabConfig", "build_deeplab"]
