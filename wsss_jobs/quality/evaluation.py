"""What one product of a run scores."""

from dataclasses import dataclass, field

import numpy as np

from wsss_jobs.quality.scores import SegmentationScores, mean_of_known


@dataclass(frozen=True)
class ImageScore:
    """One image of one evaluation.

    Attributes:
        miou: Mean IoU over the classes of this image's truth or label.
    """

    item_id: str
    source_key: str
    miou: float


@dataclass(frozen=True)
class Evaluation:
    """The scores of one product of a run.

    Attributes:
        name: `<stage>` or `<stage>/<variant>`.
        kind: `cam` (best threshold of a sweep), `partial` or `mask`.
        scores: Over the whole set.
        images: One an image.
        num_missing: Images with a truth, but nothing to score (failed earlier).
        threshold: For CAMs: the background threshold that scored best; it was chosen with the truth.
        labelled_fraction: For partial labels: share of pixels that carry a label.
        boundary_iou: For masks: boundary IoU a class, background first (Cheng et al., CVPR 2021); NaN where a class
            occurs nowhere.
        confusion_CC: Pixel counts over the whole set, truth in rows, label in columns.
    """

    name: str
    kind: str
    scores: SegmentationScores
    images: tuple[ImageScore, ...]
    num_missing: int
    threshold: float | None = None
    labelled_fraction: float | None = None
    boundary_iou: tuple[float, ...] | None = None
    confusion_CC: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def boundary_miou(self) -> float | None:
        """Mean boundary IoU over the classes that occur, or None where it is not scored."""
        return None if self.boundary_iou is None else mean_of_known(self.boundary_iou)
