"""How ACR changes the images that it trains on (Kweon et al., CVPR 2023, section 5.2)."""

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.images import resize, scaled_size
from wsss_jobs.training.augmentation import resize_long_side


class AcrAugmentation(BaseModel):
    """How images are changed; colours are not (the paper: the reconstructor would not converge).

    Attributes:
        long_side_px: The longer side is drawn from this range. (384, 512): released.
        scale_range: Instead of that, a factor drawn from this range. (0.5, 1.3): paper.
        crop_px: Side of the random square crop; small images are placed at random on the mean colour. 256: both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    long_side_px: tuple[int, int] = (384, 512)
    scale_range: tuple[float, float] | None = None
    crop_px: int = Field(default=256, ge=32)

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for name in ("long_side_px", "scale_range"):
            value = getattr(self, name)
            if value is not None and not 0 < value[0] <= value[1]:
                raise ValueError(f"{name} must be (low, high) with 0 < low <= high; got {value}")
        return self

    def resized(self, image_HW3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the image at its drawn size."""
        if self.scale_range is None:
            return resize_long_side(image_HW3, *self.long_side_px, rng=rng)
        return resize(image_HW3, scaled_size(image_HW3.shape[:2], float(rng.uniform(*self.scale_range))))
