"""Unary energies of the published recipes: what the dense CRF starts from.

A unary is the energy of each label at each pixel, -ln of how likely the label is; lower is likelier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInputError

# Below this a score counts as this: -ln 1e-5 = 11.5 is the largest energy. Source: pydensecrf's unary_from_softmax
# callers in the PSA and WSGCN releases.
MIN_PROBABILITY = 1e-5


def unary_from_probabilities(prob_CHW: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return ``-ln clip(p, 1e-5, 1)``.

    The scores need not sum to 1 over the labels: PSA, WSGCN and ACR use CAMs as they are.

    Shapes:
        prob_CHW: scores in [0, 1]. Returns [C, H, W], in [0, 11.52].

    Raises:
        InvalidInputError: a score is not a number, or the array has not three axes.
    """
    _check_scores(prob_CHW)
    clipped_CHW = np.clip(np.asarray(prob_CHW, dtype=np.float32), np.float32(MIN_PROBABILITY), np.float32(1))
    return -np.log(clipped_CHW)


def unary_from_softmax(scores_CHW: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return ``-ln softmax(scores)`` over the labels.

    The WSGCN release gives it *probabilities* instead of logits, a second softmax: no two labels then differ by more
    than 1 nat, and its compatibilities of 3 are tuned to that.

    Shapes:
        scores_CHW: any finite numbers. Returns [C, H, W].

    Raises:
        InvalidInputError: a score is not finite, or the array has not three axes.
    """
    _check_scores(scores_CHW)
    if not np.isfinite(scores_CHW).all():
        raise InvalidInputError("unary_from_softmax: scores must be finite, found an infinity")
    shifted_CHW = np.asarray(scores_CHW, dtype=np.float32) - scores_CHW.max(axis=0, keepdims=True)
    log_sum_1HW = np.log(np.exp(shifted_CHW).sum(axis=0, keepdims=True))
    return np.asarray(log_sum_1HW - shifted_CHW, dtype=np.float32)


def unary_from_labels(
    label_HW: NDArray[np.integer],
    num_labels: int,
    confidence: float,
    ignore_label: int | None = None,
) -> NDArray[np.float32]:
    """Return ``-ln g`` for a pixel's own label and ``-ln((1 - g) / (C - 1))`` for every other.

    Every value is a real class, 0 too (pydensecrf's ``zero_unsure=False``).

    Shapes:
        label_HW: integers in 0..num_labels - 1, or `ignore_label`. Returns [num_labels, H, W].

    Args:
        label_HW: the label that each pixel is believed to have.
        num_labels: C, number of labels, >= 1. With one label every energy is 0.
        confidence: g, how much the labels are believed, in (0, 1). IRN, PSA and ISIM use 0.7.
        ignore_label: pixels of this value favour no label: ``-ln(1 / C)`` for all.

    Raises:
        InvalidInputError: a label out of range, a confidence out of range, or a label map that is none.
    """
    _check_labels(label_HW, num_labels, confidence, ignore_label)
    if num_labels == 1:
        return np.zeros((1, *label_HW.shape), dtype=np.float32)
    own = np.float32(-np.log(confidence))
    other = np.float32(-np.log((1.0 - confidence) / (num_labels - 1)))
    own_CHW = label_HW[None] == np.arange(num_labels, dtype=np.int64)[:, None, None]
    unary_CHW = np.where(own_CHW, own, other)
    if ignore_label is not None:
        unary_CHW[:, label_HW == ignore_label] = np.float32(np.log(num_labels))
    return unary_CHW


def _check_scores(scores_CHW: NDArray[np.floating]) -> None:
    if scores_CHW.ndim != 3 or scores_CHW.size == 0:
        raise InvalidInputError(f"unary: scores must be [C, H, W] and not empty, found shape {scores_CHW.shape}")
    if np.isnan(scores_CHW).any():
        raise InvalidInputError("unary: scores must be numbers, found NaN")


def _check_labels(label_HW: NDArray[np.integer], num_labels: int, confidence: float, ignore_label: int | None) -> None:
    if label_HW.ndim != 2 or label_HW.size == 0 or not np.issubdtype(label_HW.dtype, np.integer):
        raise InvalidInputError(
            f"unary_from_labels: labels must be integers [H, W] and not empty, found {label_HW.dtype} {label_HW.shape}"
        )
    if num_labels < 1:
        raise InvalidInputError(f"unary_from_labels: num_labels must be 1 or more, found {num_labels}")
    if not 0.0 < confidence < 1.0:
        raise InvalidInputError(f"unary_from_labels: confidence must lie in (0, 1), found {confidence}")
    real = label_HW if ignore_label is None else label_HW[label_HW != ignore_label]
    if real.size and (real.min() < 0 or real.max() >= num_labels):
        raise InvalidInputError(
            f"unary_from_labels: labels must lie in 0..{num_labels - 1}, found {real.min()}..{real.max()}; "
            "name the value of pixels without a label as ignore_label"
        )
