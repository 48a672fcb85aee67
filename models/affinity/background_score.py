"""The background's score out of CAMs (PSA, Ahn and Kwak, CVPR 2018, equation 2)."""

import numpy as np


def background_stack(cam_Kyx: np.ndarray, alpha: float) -> np.ndarray:
    """Returns `[(1 - max CAM)^alpha, CAMs]`, `[K + 1, y, x]`, not normalised: a large alpha leaves little of it."""
    return np.concatenate([(1.0 - cam_Kyx.max(axis=0, keepdims=True)) ** alpha, cam_Kyx])
