"""Partial labels: the recipe restated cell by cell, its anchors, and what may never happen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.errors import InvalidInputError
from models.propagation.partial_labels import PartialLabelConfig, add_seeds, background_stack, partial_label


class NoCrf:
    """A CRF without pairwise terms: softmax of minus the unary, which normalises the scores."""

    def refine_many(self, image_hw3, unary_VChw):
        scores = np.exp(-unary_VChw)
        return scores / scores.sum(axis=1, keepdims=True)


def blobs(height, width, num_classes, seed):
    """Smooth class maps with a maximum of one, as CAMs have."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    maps = []
    for _ in range(num_classes):
        y, x, size = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(2, 6)
        maps.append(np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * size**2)))
    cam = np.stack(maps).astype(np.float32)
    return cam / cam.max(axis=(1, 2), keepdims=True)


def restated(cam, ids, q4, q32, rho=0.3):
    """Fact sheet 4.2, steps 2 to 6, with loops and the released names."""
    _, height, width = cam.shape
    background = (1 - cam.max(axis=0)) ** 32
    label = np.full((height, width), 255)
    region = np.concatenate([background[None], cam]).argmax(axis=0)
    sure = np.zeros((height, width), dtype=bool)
    for c in np.unique(q4.argmax(axis=0)):
        if c == 0:
            sure |= (region == 0) & (background > 0.8)
            continue
        values = np.where(region == c, cam[c - 1], 0)
        ordered = sorted(v for v in values.ravel() if v > 0.1)
        if ordered:
            sure |= values > ordered[int(len(ordered) * (1 - rho))]
    for y in range(height):
        for x in range(width):
            first, second = q4[:, y, x].argmax(), q32[:, y, x].argmax()
            crf = first if first > 0 else 255
            if second == 0:
                crf = 0
            voted = np.array([q32[0, y, x], *q4[1:, y, x]])
            if crf == 255 or not sure[y, x] or voted.max() < 0.8 or voted.argmax() != crf:
                continue
            label[y, x] = (0, *ids)[crf]
    return label


@pytest.mark.parametrize("num_classes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("with_crf", [False, True])
def test_labels_are_the_released_recipe(num_classes, seed, with_crf):
    cam = blobs(24, 31, num_classes, seed)
    image = np.random.default_rng(seed).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    ids = (2, 5, 9)[:num_classes]
    config = PartialLabelConfig()
    crf = DenseCRF(config.crf) if with_crf else NoCrf()
    unaries = np.stack([-np.log(np.clip(background_stack(cam, alpha), 1e-5, 1)) for alpha in (4.0, 32.0)])
    q4, q32 = crf.refine_many(image, unaries.astype(np.float32))
    expected = restated(cam, ids, q4, q32)
    assert (expected != 255).any()
    assert np.array_equal(partial_label(cam, ids, image, config, crf), expected)


def test_background_is_sure_below_the_published_cam_value():
    """(1 - x)^32 > 0.8 means x < 0.00695 (fact sheet 4.2)."""
    assert (1 - 0.00694) ** 32 > 0.8 > (1 - 0.00696) ** 32
    cam = np.zeros((1, 6, 6), dtype=np.float32)
    cam[0, 0, 0], cam[0, :, 3:] = 1.0, 0.0071
    label = partial_label(cam, (1,), np.zeros((6, 6, 3), np.uint8), PartialLabelConfig(), NoCrf())
    assert (label[1:, :3] == 0).all()
    assert (label[:, 3:] == 255).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), num_classes=st.integers(1, 3), seeds=st.booleans())
def test_only_tags_background_and_ignore_occur_and_something_is_labelled(seed, num_classes, seeds):
    rng = np.random.default_rng(seed)
    cam = rng.random((num_classes, 7, 9)).astype(np.float32) * rng.random()
    ids = tuple(int(c) for c in rng.choice(np.arange(1, 20), num_classes, replace=False))
    config = PartialLabelConfig(seed_missing_classes=seeds)
    label = partial_label(cam, ids, np.zeros((7, 9, 3), np.uint8), config, NoCrf())
    assert set(np.unique(label)) <= {0, 255, *ids}
    assert (label != 255).any()


def test_missing_classes_are_seeded_only_when_asked():
    cam = blobs(20, 20, 2, 3)
    cam[1] *= 0.3  # a weak class, which the recipe leaves without a cell
    image = np.zeros((20, 20, 3), np.uint8)
    plain = partial_label(cam, (1, 2), image, PartialLabelConfig(), NoCrf())
    seeded = partial_label(cam, (1, 2), image, PartialLabelConfig(seed_missing_classes=True), NoCrf())
    assert 2 not in plain
    assert np.count_nonzero(seeded == 2) == 2  # the top 0.5 % of 400 cells
    assert np.array_equal(plain[seeded != 2], seeded[seeded != 2])


def test_seeds_take_the_best_free_cells():
    partial = np.full((2, 3), 255, dtype=np.uint8)
    partial[0, 0] = 7
    cam = np.array([[[0.9, 0.8, 0.2], [0.1, 0.05, 0.0]]], dtype=np.float32)
    add_seeds(partial, cam, [0, 1], (1,), 0.1)
    assert partial.tolist() == [[7, 1, 255], [255, 255, 0]]


@pytest.mark.parametrize(
    ("cam", "words"),
    [
        (np.full((1, 4, 4), np.nan, np.float32), "16 values that are not finite"),
        (np.zeros((1, 4, 5), np.float32), r"cam must be \[1, 4, 4\]"),
        (np.zeros((2, 4, 4), np.float32), r"cam must be \[1, 4, 4\]"),
    ],
)
def test_bad_cams_are_refused(cam, words):
    with pytest.raises(InvalidInputError, match=words):
        partial_label(cam, (1,), np.zeros((4, 4, 3), np.uint8), PartialLabelConfig(), NoCrf())


@pytest.mark.parametrize("options", [{"alpha_low": 0.0}, {"alpha_low": 40.0}, {"foreground_fraction": 1.5}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(InvalidInputError):
        PartialLabelConfig(**options)


def test_the_crf_of_the_recipe_has_the_released_values():
    expected = DenseCRFConfig(4.0, 3.0, 20.0, 3.0, 10.0, num_iterations=10)
    assert PartialLabelConfig().crf == expected
