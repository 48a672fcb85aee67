"""The background's score out of CAMs, and class scores refined with two of them (PSA, Ahn and Kwak, CVPR 2018)."""

import numpy as np

from models.crf.dense_crf import DenseCRF
from models.crf.unaries import unary_from_probabilities
from models.errors import InvalidInputError


def background_stack(cam_Kyx: np.ndarray, alpha: float) -> np.ndarray:
    """Returns `[(1 - max CAM)^alpha, CAMs]`, `[K + 1, y, x]` (equation 2), not normalised: a large alpha leaves few."""
    return np.concatenate([(1.0 - cam_Kyx.max(axis=0, keepdims=True)) ** alpha, cam_Kyx])


def two_alpha_scores(
    cam_Kyx: np.ndarray, alphas: tuple[float, float], image_yx3: np.ndarray, crf: DenseCRF
) -> np.ndarray:
    """Returns the class probabilities of two dense CRFs, `[2, K + 1, y, x]`: one background score an alpha.

    Args:
        cam_Kyx: CAMs in [0, 1].
        image_yx3: The image at the CAMs' resolution.
    """
    unaries = [unary_from_probabilities(background_stack(cam_Kyx, alpha)) for alpha in alphas]
    scores_2Cyx: np.ndarray = crf.refine_many(image_yx3, np.stack(unaries))
    return scores_2Cyx


def check_alphas(alpha_low: float, alpha_high: float) -> None:
    """Raises `InvalidInputError` unless the first alpha is the more generous one to the background."""
    if not 0 < alpha_low <= alpha_high:
        msg = f"alphas must satisfy 0 < alpha_low <= alpha_high; got {alpha_low} and {alpha_high}"
        raise InvalidInputError(msg)
