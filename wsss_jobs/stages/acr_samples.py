"""What ACR trains on: a crop, its tags, a target class, and a grid of leaks (Kweon et al., CVPR 2023, section 5.2)."""

from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.adversarial.pair import AcrBatch
from models.adversarial.remnant_feeding import RemnantFeeding
from models.adversarial.target_class import draw_target_class
from models.images import Normalisation, resize, scaled_size
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.training.augmentation import crop, flip, resize_long_side
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample


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


class AcrSamples:
    """Makes samples; every draw is keyed by run seed, item and epoch."""

    def __init__(
        self,
        reader: ItemReader,
        augmentation: AcrAugmentation,
        remnants: RemnantFeeding,
        normalisation: Normalisation,
        num_foreground: int,
        seed: int,
    ) -> None:
        self._reader = reader
        self._augmentation = augmentation
        self._remnants = remnants
        self._normalisation = normalisation
        self._num_foreground = num_foreground
        self._seed = seed

    def sample(self, item: DatasetItem, epoch: int) -> Sample:
        """Returns `image` `[3, crop, crop]`, `labels` `[C]`, `target` `[]` and `leak` `[1, s, s]`."""
        rng = item_generator(self._seed, item.item_id, epoch, "acr")
        target = draw_target_class([label for label in item.labels if label > 0], rng)
        leak = self._remnants.draw(epoch, rng)
        image_HW3 = np.ascontiguousarray(flip(self._augmentation.resized(self._reader.image(item), rng), rng))
        normalised_HW3 = self._normalisation(image_HW3).permute(1, 2, 0).numpy()
        [crop_HW3] = crop([(normalised_HW3, 0.0)], self._augmentation.crop_px, rng)
        labels = torch.zeros(self._num_foreground)
        labels[[label - 1 for label in item.labels]] = 1.0
        return {
            "image": torch.from_numpy(crop_HW3).permute(2, 0, 1).contiguous(),
            "labels": labels,
            "target": torch.tensor(target),
            "leak": torch.from_numpy(leak),
        }


def acr_batch(batch: Sample) -> AcrBatch:
    """Returns samples, stacked by name, as the networks take them."""
    return AcrBatch(batch["image"], batch["labels"], batch["target"], batch["leak"])
