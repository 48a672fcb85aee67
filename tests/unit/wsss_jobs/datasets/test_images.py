"""A zoo of image files: each is made with known pixels and must come back as those pixels in RGB."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from wsss_jobs.datasets.images import decode_image
from wsss_jobs.errors import DataError

HEIGHT, WIDTH = 12, 20
RNG = np.random.default_rng(0)
RGB_HW3 = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY_HW = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
ALPHA_HW = RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
SMOOTH_HW3 = np.stack(np.broadcast_arrays(np.arange(32)[:, None] * 7, np.arange(40) * 6, 90), axis=-1).astype(np.uint8)


def file_of(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunks(header, rows, *others):
    """A PNG written by hand, for kinds of pixels that Pillow reads and does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *others, chunk(b"IDAT", data), chunk(b"IEND", b"")])


def grey3(value_HW):
    return np.stack([value_HW] * 3, axis=-1)


def over_white(colour_HW3, alpha_HW):
    alpha_HW1 = alpha_HW[..., None].astype(float) / 255
    return colour_HW3 * alpha_HW1 + 255 * (1 - alpha_HW1)


def palette_image():
    image = Image.fromarray((GREY_HW % 16).astype(np.uint8)).convert("P")
    palette = RNG.integers(0, 256, (256, 3), np.uint8)
    image.putpalette(palette.tobytes())
    return image, palette[GREY_HW % 16]


def with_alpha(array_HWC):
    return Image.fromarray(np.dstack([array_HWC, ALPHA_HW]))


WIDE_HW = RNG.integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
DEEP_HW3 = RNG.integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
PALETTE_IMAGE, PALETTE_RGB = palette_image()
BITS_HW = GREY_HW > 127

EXACT = {
    "rgb_png": (file_of(Image.fromarray(RGB_HW3), "PNG"), RGB_HW3),
    "rgb_bmp": (file_of(Image.fromarray(RGB_HW3), "BMP"), RGB_HW3),
    "rgb_ppm": (file_of(Image.fromarray(RGB_HW3), "PPM"), RGB_HW3),
    "rgb_tiff": (file_of(Image.fromarray(RGB_HW3), "TIFF"), RGB_HW3),
    "rgb_tiff_lzw": (file_of(Image.fromarray(RGB_HW3), "TIFF", compression="tiff_lzw"), RGB_HW3),
    "rgb_webp": (file_of(Image.fromarray(RGB_HW3), "WEBP", lossless=True), RGB_HW3),
    "grey_png": (file_of(Image.fromarray(GREY_HW), "PNG"), grey3(GREY_HW)),
    "palette_png": (file_of(PALETTE_IMAGE, "PNG"), PALETTE_RGB),
    "palette_gif": (file_of(PALETTE_IMAGE, "GIF"), PALETTE_RGB),
    "one_bit_png": (file_of(Image.fromarray(BITS_HW), "PNG"), grey3(BITS_HW * np.uint8(255))),
    "one_bit_tiff": (file_of(Image.fromarray(BITS_HW), "TIFF", compression="group4"), grey3(BITS_HW * np.uint8(255))),
    "16_bit_grey_png": (file_of(Image.fromarray(WIDE_HW), "PNG"), grey3(np.round(WIDE_HW / 257).astype(np.uint8))),
    "16_bit_grey_tiff": (file_of(Image.fromarray(WIDE_HW), "TIFF"), grey3(np.round(WIDE_HW / 257).astype(np.uint8))),
    "32_bit_grey_tiff_in_range": (
        file_of(Image.fromarray(WIDE_HW.astype(np.int32)), "TIFF"),
        grey3(np.round(WIDE_HW / 257).astype(np.uint8)),
    ),
    "2_bit_palette_png": (
        file_of(PALETTE_IMAGE.point(lambda value: value % 4), "PNG", bits=2),
        np.array(PALETTE_IMAGE.point(lambda value: value % 4).convert("RGB")),
    ),
    "transparent_colour_png": (
        file_of(Image.fromarray(np.full((9, 9, 3), 7, np.uint8)), "PNG", transparency=(7, 7, 7)),
        np.full((9, 9, 3), 255, np.uint8),
    ),
    "animated_gif": (
        file_of(PALETTE_IMAGE, "GIF", save_all=True, append_images=[Image.new("P", (WIDTH, HEIGHT))]),
        PALETTE_RGB,
    ),
    "animated_webp": (
        file_of(
            Image.fromarray(RGB_HW3), "WEBP", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))],
            lossless=True,
        ),
        RGB_HW3,
    ),
    "several_pages_tiff": (
        file_of(Image.fromarray(RGB_HW3), "TIFF", save_all=True, append_images=[Image.new("RGB", (30, 30))]),
        RGB_HW3,
    ),
    "rgba_png_opaque": (file_of(Image.fromarray(np.dstack([RGB_HW3, np.full_like(GREY_HW, 255)])), "PNG"), RGB_HW3),
    "rgba_png_clear": (
        file_of(Image.fromarray(np.dstack([RGB_HW3, np.zeros_like(GREY_HW)])), "PNG"),
        np.full_like(RGB_HW3, 255),
    ),
}  # fmt: skip

CLOSE = {
    "rgba_png": (file_of(with_alpha(RGB_HW3), "PNG"), over_white(RGB_HW3, ALPHA_HW), 1.0),
    "grey_alpha_png": (file_of(with_alpha(GREY_HW), "PNG"), over_white(grey3(GREY_HW), ALPHA_HW), 1.0),
    "16_bit_rgb_png": (
        png_chunks(
            struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0), [row.astype(">u2").tobytes() for row in DEEP_HW3]
        ),
        DEEP_HW3 / 257,
        1.0,
    ),
    "jpeg": (file_of(Image.fromarray(SMOOTH_HW3), "JPEG", quality=95), SMOOTH_HW3, 6.0),
    "progressive_jpeg": (file_of(Image.fromarray(SMOOTH_HW3), "JPEG", quality=95, progressive=True), SMOOTH_HW3, 6.0),
    "grey_jpeg": (file_of(Image.fromarray(SMOOTH_HW3[..., 0]), "JPEG", quality=95), grey3(SMOOTH_HW3[..., 0]), 4.0),
    "ycbcr_tiff": (file_of(Image.fromarray(SMOOTH_HW3).convert("YCbCr"), "TIFF"), SMOOTH_HW3, 3.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", EXACT)
def test_kinds_without_loss(kind):
    data, expected_HW3 = EXACT[kind]
    found_HW3 = decode_image(data, kind)
    assert found_HW3.dtype == np.uint8
    assert found_HW3.flags.writeable
    np.testing.assert_array_equal(found_HW3, expected_HW3)


@pytest.mark.parametrize("kind", CLOSE)
def test_kinds_with_loss(kind):
    data, expected_HW3, tolerance = CLOSE[kind]
    np.testing.assert_allclose(decode_image(data, kind).astype(float), expected_HW3, atol=tolerance)


def adobe_cmyk_jpeg(cmyk_HW4):
    """A CMYK JPEG as Adobe's programs write it: ink is stored inverted, and an APP14 segment says so."""
    plain = file_of(Image.fromarray(cmyk_HW4, "CMYK"), "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in plain[:200], "Pillow writes the segment, and inverts"
    return plain


def test_cmyk_of_adobe_is_inverted_back():
    cyan, black = np.array([255, 0, 0, 0], np.uint8), np.array([0, 0, 0, 255], np.uint8)
    half = np.array([0, 128, 0, 51], np.uint8)
    cmyk_HW4 = np.repeat(np.repeat(np.array([[cyan, black, half, half * 0]]), 16, axis=0), 16, axis=1)
    found_HW3 = decode_image(adobe_cmyk_jpeg(cmyk_HW4), "cmyk").astype(int)
    for column, expected in ((8, (0, 255, 255)), (24, (0, 0, 0)), (40, (204, 102, 204)), (56, (255, 255, 255))):
        np.testing.assert_allclose(found_HW3[8, column], expected, atol=4)


def stored_for(orientation):
    """The stored pixels that a viewer turns into RGB_HW3, from the table in the EXIF standard."""
    upright = RGB_HW3
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(Image.fromarray(np.ascontiguousarray(stored_for(orientation))), kind, exif=exif, **options)
    np.testing.assert_array_equal(decode_image(data, kind), RGB_HW3)


def test_exif_rotation_of_jpeg():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file_of(Image.fromarray(np.ascontiguousarray(np.rot90(SMOOTH_HW3, 1))), "JPEG", quality=95, exif=exif)
    np.testing.assert_allclose(decode_image(data, "x").astype(float), SMOOTH_HW3, atol=6)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_broken_exif_is_no_reason_to_lose_an_image(exif):
    data = file_of(Image.fromarray(SMOOTH_HW3), "JPEG", exif=exif)
    assert decode_image(data, "x").shape == SMOOTH_HW3.shape


def reason_of(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    assert caught.value.item == "my/image"
    return caught.value.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_truncated_files(kind, kept):
    large_HW3 = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    data = file_of(Image.fromarray(large_HW3), kind)
    assert reason_of(decode_image, data[: int(kept * len(data))], "my/image") == "cannot_decode"


@pytest.mark.parametrize("data", [b"", b"not an image", b"<html></html>", b"\xff\xd8\xff", b"\0" * 100])
def test_other_files(data):
    assert reason_of(decode_image, data, "my/image") == "cannot_decode"


def test_flipped_bytes_give_an_image_or_a_data_error():
    data = bytearray(file_of(Image.fromarray(SMOOTH_HW3), "PNG"))
    rng = np.random.default_rng(1)
    for _ in range(200):
        broken = bytearray(data)
        for position in rng.integers(0, len(data), 3):
            broken[position] = rng.integers(0, 256)
        with contextlib.suppress(DataError):
            decode_image(bytes(broken), "x")


def test_float_pixels_are_refused():
    data = file_of(Image.fromarray(np.random.default_rng(0).random((9, 9), np.float32)), "TIFF")
    assert reason_of(decode_image, data, "my/image") == "unsupported_pixels"


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_out_of_range_are_refused(value):
    data = file_of(Image.fromarray(np.full((9, 9), value, np.int32)), "TIFF")
    assert reason_of(decode_image, data, "my/image") == "unsupported_pixels"


def test_tiny_and_huge_images():
    tiny = file_of(Image.new("RGB", (1, 1)), "PNG")
    assert reason_of(decode_image, tiny, "my/image") == "image_too_small"
    assert reason_of(decode_image, file_of(Image.new("RGB", (100, 7)), "PNG"), "my/image") == "image_too_small"
    decode_image(file_of(Image.new("RGB", (8, 8)), "PNG"), "my/image")
    decode_image(tiny, "my/image", 1)
    assert reason_of(decode_image, file_of(Image.new("L", (50, 50)), "PNG"), "my/image", 8, 2499) == "image_too_large"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_999, 30_000, 2_000_000_000])
def test_a_decompression_bomb_is_refused_from_its_header(side):
    bomb = png_chunks(struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), [b"\0"])
    assert reason_of(decode_image, bomb, "my/image") == "image_too_large"


def test_the_smallest_error_message_says_what_to_do():
    with pytest.raises(DataError, match=r"a\.jpg: sides must be at least 8 px, found 1x1; remove the image"):
        decode_image(file_of(Image.new("RGB", (1, 1)), "PNG"), "a.jpg")
