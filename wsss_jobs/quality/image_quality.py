"""The quality of one image's mask, from parts that need no ground truth (docs/quality.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """One sign of a good mask, in [0, 1], higher is better.

    Attributes:
        name: Its column.
        title: For people.
        reason: What is wrong with a mask of which this part is low.
    """

    name: str
    title: str
    reason: str


PARTS = (
    Part("cam_agreement", "agreement with the CAM", "mask and CAM disagree"),
    Part("stage_agreement", "agreement of the stages", "the stages' masks disagree with each other"),
    Part("flip_stability", "stability under flips", "the CAM changes when the image is mirrored"),
    Part("tag_coverage", "tags with pixels", "a tag has no pixels"),
    Part("boundary_fit", "borders on image edges", "borders of the mask do not follow edges of the image"),
    Part("framing", "frame free of objects", "the mask touches much of the image's frame"),
    Part("confidence", "confidence of the scores", "the scores are undecided"),
)
PART_NAMES = tuple(part.name for part in PARTS)
_REASONS = {part.name: part.reason for part in PARTS}


@dataclass(frozen=True)
class ImageParts:
    """The parts of one image.

    Attributes:
        values: By name; None where a part cannot be had.
        missing_tags: Names of the tagged classes without a pixel.
    """

    item_id: str
    source_key: str
    values: Mapping[str, float | None]
    missing_tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageQuality:
    """One image's score.

    Attributes:
        score: Mean of the parts, in [0, 1].
        parts: By name; None where a part cannot be had.
        weakest: The part that is lowest among the images of the run.
        reason: What that means, in words.
        predicted_miou: What images of this score have, where calibrated; else None.
    """

    item_id: str
    source_key: str
    score: float
    parts: Mapping[str, float | None]
    weakest: str
    reason: str
    predicted_miou: float | None = None


def combined(images: Sequence[ImageParts]) -> list[ImageQuality]:
    """Returns the images with their scores, worst first.

    The score is the plain mean of the parts that the run has. Where a single image lacks one that others have (a lost
    receipt), the mean of the others stands in, so that its score stays comparable.
    """
    values_NP = np.array([[_number(image.values.get(name)) for name in PART_NAMES] for image in images]).reshape(
        -1, len(PARTS)
    )
    present = [index for index in range(len(PARTS)) if not np.isnan(values_NP[:, index]).all()]
    ranks_NP = np.full_like(values_NP, np.inf)
    filled_NP = values_NP.copy()
    for index in present:
        column_N = values_NP[:, index]
        known_N = ~np.isnan(column_N)
        filled_NP[~known_N, index] = column_N[known_N].mean()
        ranks_NP[known_N, index] = mid_ranks(column_N[known_N])
    found = [
        _quality(image, float(filled_NP[row, present].mean()) if present else 0.0, ranks_NP[row])
        for row, image in enumerate(images)
    ]
    return sorted(found, key=lambda image: (image.score, image.source_key, image.item_id))


def mid_ranks(values_N: np.ndarray) -> np.ndarray:
    """Returns the rank of each value as a fraction in (0, 1); equal values share the middle of theirs."""
    ordered_N = np.sort(values_N)
    low_N, high_N = (np.searchsorted(ordered_N, values_N, side) for side in ("left", "right"))
    ranks_N: np.ndarray = (low_N + high_N) / (2 * len(values_N))
    return ranks_N


def _quality(image: ImageParts, score: float, ranks_P: np.ndarray) -> ImageQuality:
    # By rank: parts have different levels, and the lowest number alone would always be of the same part.
    nothing_found = image.values.get("tag_coverage") == 0.0  # all else follows from that
    weakest = "tag_coverage" if nothing_found else PART_NAMES[int(ranks_P.argmin())]
    reason = _REASONS[weakest]
    if weakest == "tag_coverage" and image.missing_tags:
        reason = f"no pixels of {', '.join(image.missing_tags)}"
    return ImageQuality(image.item_id, image.source_key, score, dict(image.values), weakest, reason)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
