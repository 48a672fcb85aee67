"""The lattice against the model itself: mean field with exact Gaussian kernels over all pairs of pixels, float64.

The lattice approximates the kernels, so the tolerance is loose: 0.02 on the mean difference of probabilities. Any one
parameter taken wrong changes more than twice that, which the second test makes sure of.
"""

from dataclasses import replace

import numpy as np
import pytest

from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF

CONFIG = DenseCRFConfig(3, 3, 20, 13, 5, num_iterations=5)
WRONG = {
    "gaussian_sxy_px": 9.0,
    "gaussian_compat": 0.0,
    "bilateral_sxy_px": 3.0,
    "bilateral_srgb": 3.0,
    "bilateral_compat": 2.5,
    "num_iterations": 1,
}


def exact_marginals(image_HW3, unary_CHW, config):
    """Mean field with dense matrices (Kraehenbuehl and Koltun 2011, algorithm 1, symmetric normalisation)."""
    height, width = image_HW3.shape[:2]
    position_N2 = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2)
    colour_N3 = image_HW3.reshape(-1, 3) / config.bilateral_srgb
    message_NN = config.gaussian_compat * normalised_kernel(position_N2 / config.gaussian_sxy_px)
    feature_N5 = np.concatenate((position_N2 / config.bilateral_sxy_px, colour_N3), axis=1)
    message_NN += config.bilateral_compat * normalised_kernel(feature_N5)
    score_NC = -unary_CHW.reshape(len(unary_CHW), -1).T.astype(np.float64)
    prob_NC = softmax(score_NC)
    for _ in range(config.num_iterations):
        prob_NC = softmax(score_NC + message_NN @ prob_NC)
    return prob_NC.T.reshape(unary_CHW.shape)


def normalised_kernel(feature_ND):
    kernel_NN = np.exp(-0.5 * ((feature_ND[:, None] - feature_ND[None]) ** 2).sum(axis=-1))
    scale_N = kernel_NN.sum(axis=1) ** -0.5
    return scale_N[:, None] * kernel_NN * scale_N


def softmax(score_NC):
    exp_NC = np.exp(score_NC - score_NC.max(axis=1, keepdims=True))
    return exp_NC / exp_NC.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module", params=[0, 1])
def problem(request, image_factory, unary_factory):
    """(image, unary, exact marginals)."""
    image_HW3 = image_factory(24, 26, seed=request.param)
    unary_CHW = unary_factory(1, 3, 24, 26, seed=request.param)[0]
    return image_HW3, unary_CHW, exact_marginals(image_HW3, unary_CHW, CONFIG)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_close_to_exact_gaussians(backend, problem):
    image_HW3, unary_CHW, exact_CHW = problem
    prob_CHW = DenseCRF(replace(CONFIG, backend=backend)).refine(image_HW3, unary_CHW)
    assert np.abs(prob_CHW - exact_CHW).mean() < 0.02
    assert (prob_CHW.argmax(axis=0) == exact_CHW.argmax(axis=0)).mean() > 0.97


@pytest.mark.parametrize("name", WRONG)
def test_every_parameter_matters_more_than_the_tolerance(name, problem):
    image_HW3, unary_CHW, exact_CHW = problem
    prob_CHW = DenseCRF(replace(CONFIG, **{name: WRONG[name]})).refine(image_HW3, unary_CHW)
    assert np.abs(prob_CHW - exact_CHW).mean() > 0.04
