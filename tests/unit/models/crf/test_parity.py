"""Every backend on every instruction set against pydensecrf, live."""

import numpy as np
import pytest

from models.crf.config import DenseCRFConfig
from models.crf.presets import PRESETS

IRN = PRESETS["irn_affinity_labels"].config
CONFIGS = {
    **{name: PRESETS[name].config for name in ("irn_affinity_labels", "psa_affinity_labels", "wsgcn_partial_labels")},
    **{name: PRESETS[name].config for name in ("wsgcn_complete_labels", "isim_final_pseudo_masks", "acr_cam")},
    **{name: PRESETS[name].config for name in ("deeplab_v2_segmentation", "mctformer_segmentation")},
    "gaussian_only": DenseCRFConfig(bilateral_compat=0),
    "bilateral_only": DenseCRFConfig(gaussian_compat=0),
    "no_kernel": DenseCRFConfig(gaussian_compat=0, bilateral_compat=0),
    "no_iteration": DenseCRFConfig(num_iterations=0),
    # So many standard deviations that the native library sorts the codes in place of its bitmap.
    "tiny_sigmas": DenseCRFConfig(gaussian_sxy_px=0.02, bilateral_sxy_px=2, bilateral_srgb=0.5, bilateral_compat=40),
    "large_sigmas": DenseCRFConfig(gaussian_sxy_px=50, bilateral_sxy_px=900, bilateral_srgb=300),
}
LABEL_COUNTS = (2, 3, 4, 5, 6, 9, 10, 18, 21)  # every width of the native library's rows, alone and joined
SIZES = ((1, 1), (1, 37), (23, 1), (2, 2), (33, 20), (64, 67))


def check_parity(prob_VCHW, expected_VCHW):
    """The issue's gates: labels agree wherever the reference is not tied; probabilities agree on average.

    Single pixels may differ by more: near a tie, float rounding decides where mean field goes.
    """
    ranked_VCHW = np.sort(expected_VCHW, axis=1)
    sure_VHW = ranked_VCHW[:, -1] - ranked_VCHW[:, -2] > 1e-3
    agree_VHW = prob_VCHW.argmax(axis=1) == expected_VCHW.argmax(axis=1)
    if sure_VHW.any():
        assert agree_VHW[sure_VHW].mean() >= 0.999
    assert np.abs(prob_VCHW - expected_VCHW).mean() < 1e-5


@pytest.mark.parametrize("num_labels", LABEL_COUNTS)
@pytest.mark.parametrize("name", CONFIGS)
def test_label_counts_and_parameters(name, num_labels, own_backends, pydensecrf_backend, image_factory, unary_factory):
    image_HW3, unary_VCHW = image_factory(37, 45), unary_factory(1, num_labels, 37, 45)
    expected_VCHW = pydensecrf_backend.refine_many(image_HW3, unary_VCHW, CONFIGS[name])
    for backend in own_backends.values():
        check_parity(backend.refine_many(image_HW3, unary_VCHW, CONFIGS[name]), expected_VCHW)


@pytest.mark.parametrize("kind", ["scene", "noise", "constant"])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_and_images(size, kind, own_backends, pydensecrf_backend, image_factory, unary_factory):
    image_HW3 = image_factory(*size, kind=kind)
    for num_variants, num_labels in ((1, 2), (2, 3), (3, 7)):
        unary_VCHW = unary_factory(num_variants, num_labels, *size)
        expected_VCHW = pydensecrf_backend.refine_many(image_HW3, unary_VCHW, IRN)
        for backend in own_backends.values():
            check_parity(backend.refine_many(image_HW3, unary_VCHW, IRN), expected_VCHW)


def test_colours_with_a_page_each(native_builds, pydensecrf_backend, image_factory, unary_factory):
    """Noise of fine colours: more pages than the native bitmap may have, so that it gives up and sorts."""
    config = DenseCRFConfig(bilateral_sxy_px=30, bilateral_srgb=1.7, bilateral_compat=3, num_iterations=1)
    image_HW3, unary_VCHW = image_factory(310, 320, kind="noise"), unary_factory(1, 2, 310, 320)
    expected_VCHW = pydensecrf_backend.refine_many(image_HW3, unary_VCHW, config)
    for backend in list(native_builds.values())[:1]:
        check_parity(backend.refine_many(image_HW3, unary_VCHW, config), expected_VCHW)
