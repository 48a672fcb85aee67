"""What ACR trains on: a crop, its tags, a target class, and a grid of leaks (Kweon et al., CVPR 2023, section 5.2)."""

import numpy as np
import torch

from models.adversarial.pair import AcrBatch
from models.adversarial.remnant_feeding import RemnantFeeding
from models.adversarial.target_class import draw_target_class
from models.images import Normalisation
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.stages.acr_augmentation import AcrAugmentation
from wsss_jobs.training.augmentation import crop, flip
from wsss_jobs.training.schedule import item_generator
from wsss_jobs.training.task import ItemReader, Sample


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
