"""What a segmentation network learns from: augmented crops of images, their masks, and how far to trust each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.images import Normalisation, resize, scaled_size
from models.segmentation.config import IGNORE_INDEX
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.records import Mask
from wsss_jobs.training.augmentation import colour_jitter, crop, flip, resize_label
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample

MASKS_PORT = "masks"


class SegmentationAugmentation(BaseModel):
    """Geometry and colour of training crops.

    Attributes:
        scales: The image is resized by one of these factors. DeepLab-v2: 0.5, 0.75, 1, 1.25, 1.5.
        long_side_px: Or its longer side is drawn from this range. ACR: 256 to 768; ISIM: 256 to 1024.
        crop_px: Side of the random square crop. What lies outside of the image has the mean colour and no label.
        colour_jitter: Strength of brightness, contrast and saturation jitter; hue has a third of it. ACR: 0.3.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scales: tuple[float, ...] | None = None
    long_side_px: tuple[int, int] | None = None
    crop_px: int = Field(default=321, ge=32)
    colour_jitter: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_way_to_resize(self) -> Self:
        if self.scales and self.long_side_px:
            raise ValueError("give scales or long_side_px, not both")
        if self.scales is not None and (not self.scales or min(self.scales) <= 0):
            raise ValueError(f"scales must be positive, and at least one; got {self.scales}")
        if self.long_side_px is not None and not 1 <= self.long_side_px[0] <= self.long_side_px[1]:
            raise ValueError(f"long_side_px must be a range from 1 px up; got {self.long_side_px}")
        return self

    def drawn_size(self, size_hw: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
        """Returns the size to which an image is resized."""
        if self.long_side_px is not None:
            low, high = self.long_side_px
            return scaled_size(size_hw, int(rng.integers(low, high + 1)) / max(size_hw))
        return scaled_size(size_hw, float(rng.choice(self.scales or (1.0,))))


class LabelConfidence(BaseModel):
    """How much a pixel's loss counts, from 0 to 1, where masks may be wrong.

    Attributes:
        changed_by_crf: Weight of pixels whose class the dense CRF changed; 1 trusts them like all others, 0 ignores
            them.
        image_column: Column of numbers in 0..1 in the mask stage's `masks.parquet`, such as
            `gcn_masks_mean_confidence`; all pixels of an image are weighted by it. An image without a number counts
            fully. None: all images count the same.
        image_minimum: Images whose number is lower count nothing at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    changed_by_crf: float = Field(default=1.0, ge=0, le=1)
    image_column: str | None = None
    image_minimum: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _minimum_of_a_column(self) -> Self:
        if self.image_minimum and self.image_column is None:
            raise ValueError("image_minimum needs an image_column: the number that is compared with it")
        return self


@dataclass(frozen=True)
class SegmentationSamples:
    """Reads and augments; depends on seed, item and epoch alone."""

    reader: ItemReader
    augmentation: SegmentationAugmentation
    confidence: LabelConfidence
    normalisation: Normalisation
    num_classes: int
    seed: int

    def sample(self, item: DatasetItem, epoch: int) -> Sample:
        """Returns `image` `[3, crop, crop]`, `label` `[crop, crop]` uint8 and `weight` `[crop, crop]` float32.

        Raises:
            DataError: Image and mask have different sizes, or the mask holds an unknown class.
        """
        import torch  # here and not above: the settings in this file are read where nothing is trained

        rng = item_generator(self.seed, item.item_id, epoch, "segmentation")
        image_HW3, mask = self.read(item)
        size_hw = self.augmentation.drawn_size(image_HW3.shape[:2], rng)
        planes = [resize_label(plane, size_hw) for plane in (mask.label_HW, self._weight(item, mask))]
        image_HW3 = colour_jitter(resize(image_HW3, size_hw), self.augmentation.colour_jitter, rng)
        pixels_HW3 = self.normalisation(image_HW3).permute(1, 2, 0).numpy()
        stack_HW5 = flip(np.dstack([pixels_HW3, *planes]).astype(np.float32), rng)
        image, label, weight = crop(
            [(stack_HW5[..., :3], 0.0), (stack_HW5[..., 3], IGNORE_INDEX), (stack_HW5[..., 4], 0.0)],
            self.augmentation.crop_px,
            rng,
        )
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "label": torch.from_numpy(label.astype(np.uint8)),
            "weight": torch.from_numpy(np.ascontiguousarray(weight)),
        }

    def read(self, item: DatasetItem) -> tuple[np.ndarray, Mask]:
        """Returns an image and its mask.

        Raises:
            DataError: They have different sizes, or the mask holds an unknown class.
        """
        image_HW3, mask = self.reader.image(item), self.reader.record(MASKS_PORT, item)
        height, width = mask.label_HW.shape
        if (height, width) != image_HW3.shape[:2]:
            message = f"its mask is {width} x {height} pixels, the image {image_HW3.shape[1]} x {image_HW3.shape[0]}"
            raise DataError(item.source_key, "size_mismatch", message)
        unknown = np.setdiff1d(np.unique(mask.label_HW), [*range(self.num_classes), IGNORE_INDEX])
        if unknown.size:
            message = (
                f"its mask holds {unknown.tolist()[:5]}; class ids are 0 to {self.num_classes - 1}, 255 is ignored"
            )
            raise DataError(item.source_key, "label_out_of_range", message)
        return image_HW3, mask

    def _weight(self, item: DatasetItem, mask: Mask) -> np.ndarray:
        """Returns the weight of each pixel, `[H, W]` float32.

        Raises:
            DataError: The image's number is no share.
        """
        changed_HW = mask.label_HW != mask.before_crf_HW
        weight_HW = np.where(changed_HW, np.float32(self.confidence.changed_by_crf), np.float32(1.0))
        column = self.confidence.image_column
        value = None if column is None else self.reader.score(MASKS_PORT, item, column)
        if value is None:
            return weight_HW
        if not 0.0 <= value <= 1.0:
            raise DataError(item.source_key, "confidence_out_of_range", f"{column} must lie in 0..1; it is {value}")
        return weight_HW * np.float32(value if value >= self.confidence.image_minimum else 0.0)
