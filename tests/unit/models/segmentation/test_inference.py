"""Inference: fusion of scales and mirrors against plain loops, and windows that tile any image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from models.backbones import EncoderConfig
from models.errors import InvalidInputError
from models.images import resize, scaled_size
from models.segmentation import DeepLabConfig, build_deeplab
from models.segmentation.multi_scale import class_probabilities
from models.segmentation.sliding_window import sliding_windows

SCALES = (0.5, 1.0, 1.5)


def network(**encoder):
    torch.manual_seed(0)
    config = EncoderConfig("timm/test_efficientnet", None, output_stride=16, **encoder)
    return build_deeplab(DeepLabConfig(config, rates=(1, 2), head_channels=8, low_level_channels=4), 3).eval()


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain_views(model, image_HW3):
    """Logits of every scale, plain and mirrored, at the image's size."""
    views = []
    for scale in SCALES:
        scaled = resize(image_HW3, scaled_size(image_HW3.shape[:2], scale))
        for mirrored in (False, True):
            pixels = np.ascontiguousarray(scaled[:, ::-1] if mirrored else scaled)
            with torch.no_grad():
                logits = model.pixel_logits(model.encoder.normalisation(pixels)[None])
            logits = logits.flip(-1) if mirrored else logits
            views.append(F.interpolate(logits, size=image_HW3.shape[:2], mode="bilinear", align_corners=False)[0])
    return torch.stack(views)


@pytest.mark.parametrize("fusion", ["mean_probability", "max_probability", "sum_logits"])
def test_scales_and_mirrors_are_fused_as_the_papers_do(fusion):
    model, image_HW3 = network(), image(48, 40)
    views = plain_views(model, image_HW3)
    expected = {
        "mean_probability": views.softmax(dim=1).mean(dim=0),
        "max_probability": views.softmax(dim=1).amax(dim=0),
        "sum_logits": views.sum(dim=0).softmax(dim=0),
    }[fusion]
    found = class_probabilities(model, image_HW3, SCALES, fusion, flip=True)
    assert found.dtype == np.float32
    assert np.allclose(found, expected.numpy(), atol=1e-5)
    if fusion != "max_probability":
        assert np.allclose(found.sum(axis=0), 1.0, atol=1e-5)


def test_a_mirrored_image_has_the_mirrored_probabilities():
    model, image_HW3 = network(), image(64, 64)
    plain = class_probabilities(model, image_HW3, (1.0,), "mean_probability", flip=True)
    mirrored = class_probabilities(
        model, np.ascontiguousarray(image_HW3[:, ::-1]), (1.0,), "mean_probability", flip=True
    )
    assert np.allclose(plain, mirrored[..., ::-1], atol=1e-5)


def test_padding_is_seen_by_the_network_alone():
    for options in ({"size_multiple": 32}, {"size_multiple": 32, "size_offset": 1}):
        found = class_probabilities(network(**options), image(37, 50), (1.0,), "mean_probability", flip=True)
        assert found.shape == (3, 37, 50)


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    window=st.integers(8, 120),
    overlap=st.integers(0, 60),
)
def test_cores_tile_the_image_and_have_context_on_every_inner_side(height, width, window, overlap):
    if overlap >= window:
        with pytest.raises(InvalidInputError, match="overlap_px"):
            list(sliding_windows((height, width), window, overlap))
        return
    covered = np.zeros((height, width), dtype=int)
    for rows, columns in sliding_windows((height, width), window, overlap):
        covered[rows.core, columns.core] += 1
        for span, size in ((rows, height), (columns, width)):
            assert 0 <= span.start <= span.core_start < span.core_stop <= span.stop <= size
            assert span.stop - span.start == min(window, size)
            assert span.core_start == 0 or span.core_start - span.start >= overlap // 2
            assert span.core_stop == size or span.stop - span.core_stop >= overlap // 2
    assert (covered == 1).all()


def test_an_image_that_fits_is_one_window():
    [(rows, columns)] = sliding_windows((100, 60), 100, 20)
    assert (rows.seen, rows.core, columns.seen) == (slice(0, 100), slice(0, 100), slice(0, 60))
