"""What ISIM learns from: an augmented crop, the image's tags, and the same crop of its latest pseudo label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.images import Normalisation, resize, scaled_size
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.training.augmentation import crop, flip, resize_label
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample

MASKS_PORT = "masks"


class IsimAugmentation(BaseModel):
    """Geometry of training crops; the defaults are those of the released code.

    Attributes:
        long_side_px: Range of the longer side.
        long_side: `drawn` from the range for each crop (released), or `clipped` into it (the paper's text).
        crop_px: Side of the random square crop; what lies outside of the image has the mean colour.
        padding_label: What lies outside of the image counts as: background (0, released) or nothing (255).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    long_side_px: tuple[int, int] = (320, 640)
    long_side: Literal["drawn", "clipped"] = "drawn"
    crop_px: int = Field(default=320, ge=32)
    padding_label: Literal[0, 255] = 0

    @model_validator(mode="after")
    def _range(self) -> Self:
        low, high = self.long_side_px
        if not 1 <= low <= high:
            raise ValueError(f"long_side_px must be a range from 1 px up; got {self.long_side_px}")
        return self

    def resized(self, size_hw: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
        """Returns the size to which an image is resized."""
        low, high = self.long_side_px
        longest = max(size_hw)
        target = int(rng.integers(low, high + 1)) if self.long_side == "drawn" else min(max(longest, low), high)
        return scaled_size(size_hw, target / longest)


@dataclass(frozen=True)
class IsimSamples:
    """Reads and augments; depends on seed, item and epoch alone.

    Attributes:
        has_masks: Without them every pixel is background: such a mask costs nothing (equation 3).
    """

    reader: ItemReader
    augmentation: IsimAugmentation
    normalisation: Normalisation
    num_foreground: int
    seed: int
    has_masks: bool

    def sample(self, item: DatasetItem, epoch: int) -> Sample:
        """Returns `image` `[3, crop, crop]`, `target` `[num_foreground]` and `label` `[crop, crop]` uint8.

        Raises:
            DataError: Image and mask have different sizes.
        """
        rng = item_generator(self.seed, item.item_id, epoch, "isim")
        image_HW3 = self.reader.image(item)
        size_hw = self.augmentation.resized(image_HW3.shape[:2], rng)
        label_HW = resize_label(self._mask(item, image_HW3.shape[:2]), size_hw)
        pixels_HW3 = self.normalisation(resize(image_HW3, size_hw)).permute(1, 2, 0).numpy()
        stack_HW4 = flip(np.dstack([pixels_HW3, label_HW]).astype(np.float32), rng)
        image, label = crop(
            [(stack_HW4[..., :3], 0.0), (stack_HW4[..., 3], self.augmentation.padding_label)],
            self.augmentation.crop_px,
            rng,
        )
        import torch  # here and not above: the settings in this file are read where nothing is trained

        target = torch.zeros(self.num_foreground)
        target[[tag - 1 for tag in item.labels]] = 1.0
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "target": target,
            "label": torch.from_numpy(label.astype(np.uint8)),
        }

    def _mask(self, item: DatasetItem, size_hw: tuple[int, int]) -> np.ndarray:
        if not self.has_masks:
            return np.zeros(size_hw, dtype=np.uint8)
        label_HW: np.ndarray = self.reader.record(MASKS_PORT, item).label_HW
        if label_HW.shape != size_hw:
            message = f"its pseudo label has {label_HW.shape[::-1]} pixels (width, height), the image {size_hw[::-1]}"
            raise DataError(item.source_key, "size_mismatch", message)
        return label_HW
