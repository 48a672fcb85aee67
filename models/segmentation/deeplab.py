"""DeepLab: an encoder, a head, and the rules of training that belong to the network.

Sources: Chen et al., TPAMI 2018 (v2, losses on several scales), 2017 (v3), ECCV 2018 (v3+).
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from models.backbones import Encoder
from models.errors import InvalidInputError
from models.parameter_groups import BiasRule, parameter_groups
from models.segmentation.config import DeepLabConfig
from models.segmentation.heads import build_head, enlarge


class DeepLab(nn.Module):
    """The network. Output channel c is class id c: 0 is the background.

    Shapes:
        input `[B, 3, H, W]`, normalised; output: logits `[B, num_classes, h, w]` at the stride of the head.
    """

    def __init__(self, encoder: Encoder, num_classes: int, config: DeepLabConfig) -> None:
        super().__init__()
        if num_classes < 2:
            msg = f"a segmentation network needs the background and at least one class; got {num_classes} classes"
            raise InvalidInputError(msg)
        self.config = config
        self.num_classes = num_classes
        self.encoder = encoder
        encoder.trains_batch_norm = config.train_batch_norm
        self.head = build_head(encoder.taps, num_classes, config)

    def forward(self, images_B3HW: torch.Tensor) -> list[torch.Tensor]:
        """Returns logits, each with a loss of its own in training; the last are the prediction.

        Without `training_scales`: one. With them: of the image, of each scale, and their maximum (DeepLab-v2, section
        4.1, "MSC"); in evaluation the maximum alone.
        """
        whole = self._logits(images_B3HW)
        if not self.config.training_scales:
            return [whole]
        scaled = [self._logits(_rescaled(images_B3HW, scale)) for scale in self.config.training_scales]
        fitted = [enlarge(x, whole.shape[2:], corner_aligned=self._corner_aligned) for x in scaled]
        highest = torch.stack([whole, *fitted]).amax(dim=0)
        return [whole, *scaled, highest] if self.training else [highest]

    def pixel_logits(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        """Returns the prediction's logits at the images' size, `[B, num_classes, H, W]`."""
        return enlarge(self(images_B3HW)[-1], images_B3HW.shape[2:], corner_aligned=self._corner_aligned)

    def parameter_groups(
        self, encoder_lr: float, head_lr: float, biases: BiasRule | None = None
    ) -> list[dict[str, Any]]:
        """Returns optimizer groups of encoder and head."""
        frozen = [] if self.config.train_batch_norm_affine else self.encoder.batch_norm_parameters()
        rule = biases or BiasRule()
        return [
            *parameter_groups([self.encoder], encoder_lr, rule, without=frozen),
            *parameter_groups([self.head], head_lr, rule),
        ]

    @property
    def _corner_aligned(self) -> bool:
        return self.config.encoder.is_corner_aligned

    def _logits(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.encoder(images_B3HW))
        return logits


def _rescaled(images_B3HW: torch.Tensor, scale: float) -> torch.Tensor:
    size_hw = [max(1, int(pixels * scale)) for pixels in images_B3HW.shape[2:]]
    return F.interpolate(images_B3HW, size=size_hw, mode="bilinear", align_corners=False)
