"""Writes frozen_outputs.npz: six small cases with pydensecrf 1.0rc3's answers, for machines without pydensecrf.

    python tests/unit/models/crf/make_frozen_outputs.py

Inputs are stored with the outputs, so that no generator of random numbers has to stay as it is.
"""

from pathlib import Path

import numpy as np
from pydensecrf import densecrf

# height, width, labels, image grain, then sxy and compat, sxy, srgb and compat, iterations
CASES = (
    (18, 23, 2, 10, (3, 3), (50, 5, 10), 10),
    (16, 17, 3, 10, (3, 3), (80, 13, 10), 10),
    (12, 15, 5, 10, (4, 3), (20, 3, 10), 10),
    (14, 15, 21, 40, (3, 3), (80, 13, 10), 10),
    (14, 15, 4, 255, (1, 3), (67, 3, 4), 10),
    (1, 40, 3, 10, (3, 3), (50, 5, 10), 1),
)


def make_case(seed, height, width, num_labels, grain, gaussian, bilateral, num_iterations):
    """The case's inputs and pydensecrf's marginals."""
    rng = np.random.default_rng(seed)
    y_HW, x_HW = np.mgrid[:height, :width]
    centre_L2 = rng.uniform(0, 1, (num_labels, 2)) * (height, width)
    label_HW = np.hypot(*(np.stack((y_HW, x_HW)) - centre_L2[:, :, None, None]).swapaxes(0, 1)).argmin(axis=0)
    colour_L3 = rng.integers(0, 256, (num_labels, 3))
    image_HW3 = (colour_L3[label_HW] + rng.integers(-grain, grain + 1, (height, width, 3))).clip(0, 255)
    wrong_HW = rng.random((height, width)) < 0.25
    noisy_HW = np.where(wrong_HW, rng.integers(0, num_labels, (height, width)), label_HW)
    score_LHW = (noisy_HW == np.arange(num_labels)[:, None, None]) + rng.uniform(0, 0.7, (num_labels, height, width))
    unary_LHW = -1.5 * score_LHW.astype(np.float32)
    crf = densecrf.DenseCRF2D(width, height, num_labels)
    crf.setUnaryEnergy(unary_LHW.reshape(num_labels, -1))
    crf.addPairwiseGaussian(sxy=gaussian[0], compat=gaussian[1])
    image_HW3 = np.ascontiguousarray(image_HW3, dtype=np.uint8)
    crf.addPairwiseBilateral(sxy=bilateral[0], srgb=bilateral[1], compat=bilateral[2], rgbim=image_HW3)
    prob_LHW = np.array(crf.inference(num_iterations)).reshape(unary_LHW.shape)
    parameters = np.array([*gaussian, *bilateral, num_iterations], dtype=np.float64)
    return {"image": image_HW3, "unary": unary_LHW, "parameters": parameters, "prob": prob_LHW}


if __name__ == "__main__":
    arrays = {f"{i}_{k}": v for i, case in enumerate(CASES) for k, v in make_case(i, *case).items()}
    np.savez_compressed(Path(__file__).with_name("frozen_outputs.npz"), **arrays)
