"""What inference of class activation maps sees of a classifier, whatever is inside."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from models.backbones import EncoderConfig
from models.classifiers.normalised_cam import divided_by_maximum
from models.images import Normalisation


class CamNetwork(nn.Module, ABC):
    """A classifier with class activation maps.

    Attributes:
        num_foreground: Classes without the background; channel k of a map is class id k + 1.
    """

    num_foreground: int

    @property
    @abstractmethod
    def encoder_config(self) -> EncoderConfig:
        """Stride, padding and alignment of the maps."""

    @property
    @abstractmethod
    def normalisation(self) -> Normalisation:
        """What becomes of pixels before the network sees them."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.parameters()).device

    @abstractmethod
    def class_maps(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns unnormalised CAMs of at least 0, `[B, num_foreground, h, w]`, at the encoder's stride."""

    def normalised(self, cam_Khw: torch.Tensor) -> torch.Tensor:
        """Returns CAMs in [0, 1], each class by itself; here divided by its maximum (IRN)."""
        return divided_by_maximum(cam_Khw)
