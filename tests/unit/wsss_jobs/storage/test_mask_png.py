import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as npst
from PIL import Image

from wsss_jobs.errors import DataError
from wsss_jobs.storage.mask_png import decode_mask, encode_mask, voc_palette

# From the VOC development kit's own colour map, by hand: id -> colour.
VOC_COLOURS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
VOC_COLOURS |= {8: (64, 0, 0), 64: (32, 0, 0), 255: (224, 224, 192)}


def png(array, mode, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).convert(mode).save(buffer, "PNG", **options)
    return buffer.getvalue()


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
def test_round_trip(label_HW):
    data = encode_mask(label_HW)
    decoded_HW = decode_mask(data)
    assert decoded_HW.dtype == np.uint8
    np.testing.assert_array_equal(decoded_HW, label_HW)
    assert encode_mask(label_HW) == data


@pytest.mark.parametrize(("class_id", "colour"), VOC_COLOURS.items())
def test_files_have_the_voc_colours(class_id, colour):
    with Image.open(io.BytesIO(encode_mask(np.full((3, 5), class_id, np.uint8)))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P", (5, 3))
        assert image.convert("RGB").getpixel((0, 0)) == colour


def test_the_palette_has_256_different_colours():
    assert len(np.unique(voc_palette(), axis=0)) == 256


def test_arrays_with_gaps_and_read_only_arrays_are_taken():
    label_HW = np.arange(64, dtype=np.uint8).reshape(8, 8)
    label_HW.flags.writeable = False
    np.testing.assert_array_equal(decode_mask(encode_mask(label_HW[::2, ::-2])), label_HW[::2, ::-2])


def test_a_decoded_mask_is_writable():
    decode_mask(encode_mask(np.zeros((2, 2), np.uint8)))[0, 0] = 1


@pytest.mark.parametrize("bad", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 1), np.uint8), np.zeros((0, 2), np.uint8)])
def test_other_arrays_are_refused(bad):
    with pytest.raises(ValueError, match=r"uint8 \[H, W\]"):
        encode_mask(bad)


def test_grey_masks_are_read_by_value():
    label_HW = np.array([[0, 7, 255]], np.uint8)
    np.testing.assert_array_equal(decode_mask(png(label_HW, "L")), label_HW)


def test_palette_masks_of_few_bits_are_read_by_index():
    image = Image.fromarray(np.array([[0, 1, 1, 0, 1]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=1)
    np.testing.assert_array_equal(decode_mask(buffer.getvalue()), [[0, 1, 1, 0, 1]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_coloured_masks_are_read_by_colour(mode):
    label_HW = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with Image.open(io.BytesIO(encode_mask(label_HW))) as image:
        data = png(np.array(image.convert("RGB")), mode)
    np.testing.assert_array_equal(decode_mask(data), label_HW)


def test_a_foreign_colour_is_named():
    image_HW3 = np.zeros((4, 4, 3), np.uint8)
    image_HW3[2, 1] = (12, 34, 56)
    with pytest.raises(DataError, match=r"x=1, y=2.*\(12, 34, 56\)") as caught:
        decode_mask(png(image_HW3, "RGB"), "2007_000032")
    assert (caught.value.item, caught.value.reason) == ("2007_000032", "mask_colour")


@pytest.mark.parametrize("mode", ["LA", "1", "I;16"])
def test_other_pixels_are_refused(mode):
    data = png(np.zeros((4, 4), np.uint16 if mode == "I;16" else np.uint8), mode)
    with pytest.raises(DataError) as caught:
        decode_mask(data)
    assert caught.value.reason == "mask_mode"


def test_a_see_through_mask_is_refused():
    with pytest.raises(DataError) as caught:
        decode_mask(png(np.zeros((4, 4, 4), np.uint8), "RGBA"))
    assert caught.value.reason == "mask_mode"


@pytest.mark.parametrize("cut", [0, 20, 60])
def test_broken_files(cut):
    data = encode_mask(np.random.default_rng(0).integers(0, 255, (50, 50), np.uint8))
    with pytest.raises(DataError) as caught:
        decode_mask(data[:cut])
    assert caught.value.reason == "cannot_decode"
