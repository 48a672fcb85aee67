"""Augmentations: geometry that images and labels share, and where padding goes."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsss_jobs.training.augmentation import colour_jitter, crop, flip, resize_label, resize_long_side


@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(8, 32), seed=st.integers(0, 99))
def test_image_and_label_stay_together_and_nothing_visible_is_lost(height, width, size, seed):
    label = np.arange(1, height * width + 1).reshape(height, width)
    image = np.repeat(label[..., None], 3, axis=2).astype(np.float32)
    cropped_image, cropped_label = crop([(image, 0.0), (label, 0)], size, np.random.default_rng(seed))
    assert cropped_label.shape == (size, size)
    assert np.array_equal(cropped_image[..., 0], cropped_label)
    kept = np.count_nonzero(cropped_label)
    assert kept == min(height, size) * min(width, size)


def test_without_a_generator_the_top_left_is_taken():
    label = np.arange(30).reshape(5, 6)
    [out] = crop([(label, 255)], 8, None)
    assert np.array_equal(out[:5, :6], label)
    assert (out[5:] == 255).all()
    [out] = crop([(label, 255)], 3, None)
    assert np.array_equal(out, label[:3, :3])


def test_all_crop_positions_occur():
    label = np.arange(1, 26).reshape(5, 5)
    corners = {int(crop([(label, 0)], 3, np.random.default_rng(seed))[0][0, 0]) for seed in range(200)}
    assert corners == {1, 2, 3, 6, 7, 8, 11, 12, 13}


def test_long_side_is_drawn_from_the_closed_range():
    image = np.zeros((30, 60, 3), dtype=np.uint8)
    sizes = {resize_long_side(image, 40, 42, np.random.default_rng(seed)).shape for seed in range(60)}
    assert {size[1] for size in sizes} == {40, 41, 42}
    assert all(size[0] == round(size[1] / 2) for size in sizes)


def test_half_of_the_images_are_mirrored():
    array = np.array([[1, 2, 3]])
    mirrored = sum(flip(array, np.random.default_rng(seed))[0, 0] == 3 for seed in range(400))
    assert 160 < mirrored < 240


def test_labels_are_resized_by_pixel_centres():
    label = np.array([[1, 2], [3, 4]])
    assert resize_label(label, (4, 4)).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert resize_label(np.arange(8)[None], (1, 2)).tolist() == [[2, 6]]


def test_jitter_depends_on_its_generator_alone_and_leaves_torchs_untouched():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = colour_jitter(image, 0.3, np.random.default_rng(1))
    assert torch.equal(torch.rand(1), expected)
    assert np.array_equal(first, colour_jitter(image, 0.3, np.random.default_rng(1)))
    assert not np.array_equal(first, colour_jitter(image, 0.3, np.random.default_rng(2)))
    assert not np.array_equal(first, image)


def test_no_jitter_draws_nothing() -> None:
    rng, image = np.random.default_rng(1), np.zeros((4, 5, 3), dtype=np.uint8)
    assert colour_jitter(image, 0.0, rng) is image
    assert rng.random() == np.random.default_rng(1).random()
