"""Bad input is an error with a reason, never a crash and never a silent NaN; odd but good input is taken."""

import numpy as np
import pytest

from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.errors import InvalidInputError

H, W, C = 9, 12, 3
BACKENDS = ("native", "torch", "pydensecrf")


@pytest.fixture(params=BACKENDS)
def crf(request, native_builds):
    """The engine with each of its backends, where it is installed."""
    if request.param == "native" and not native_builds:
        pytest.skip("the native library was not built on this machine")
    if request.param == "pydensecrf":
        pytest.importorskip("pydensecrf")
    return DenseCRF(DenseCRFConfig(backend=request.param, max_pixels=H * W))


@pytest.fixture
def image_HW3(image_factory):
    return image_factory(H, W)


@pytest.fixture
def unary_CHW(unary_factory):
    return unary_factory(1, C, H, W)[0]


def with_value(array, value):
    changed = array.copy()
    changed[1, 4, 5] = value
    return changed


BAD_UNARIES = {
    "NaN": (lambda u: with_value(u, np.nan), "finite, found NaN or infinity in 1 of 324"),
    "infinity": (lambda u: with_value(u, np.inf), "finite"),
    "minus infinity": (lambda u: with_value(u, -np.inf), "finite"),
    "float64": (lambda u: u.astype(np.float64), "float32, found float64"),
    "integers": (lambda u: u.astype(np.int32), "float32, found int32"),
    "no labels axis": (lambda u: u[0], r"\[C, H, W\], found shape \(9, 12\)"),
    "four axes": (lambda u: u[None], r"\[C, H, W\], found shape \(1, 3, 9, 12\)"),
    "flat": (lambda u: u.reshape(C, -1), r"\[C, H, W\], found shape \(3, 108\)"),
    "another size": (lambda u: u[:, :, 1:], r"height and width \(9, 12\), found \(9, 11\)"),
    "transposed": (lambda u: u.transpose(0, 2, 1), r"found \(12, 9\)"),
    "no label": (lambda u: u[:0], "not be empty"),
    "no pixel": (lambda u: u[:, :0], "not be empty"),
}
BAD_IMAGES = {
    "floats": (lambda im: im.astype(np.float32), "uint8, found float32"),
    "grey": (lambda im: im[..., 0], r"\[H, W, 3\].*found shape \(9, 12\)"),
    "one channel": (lambda im: im[..., :1], "3 channels"),
    "alpha": (lambda im: np.concatenate((im, im[..., :1]), axis=2), "3 channels"),
    "channels first": (lambda im: im.transpose(2, 0, 1), "3 channels"),
    "empty": (lambda im: im[:0], "not be empty"),
    "a list": (lambda im: im.tolist(), "numpy array, found list"),
    "too large": (lambda im: np.zeros((H, W + 1, 3), np.uint8), "117 pixels, above the limit max_pixels=108"),
}


@pytest.mark.parametrize("name", BAD_UNARIES)
def test_bad_unary(name, crf, image_HW3, unary_CHW):
    change, reason = BAD_UNARIES[name]
    with pytest.raises(InvalidInputError, match=reason):
        crf.refine(image_HW3, change(unary_CHW))


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_image(name, crf, image_HW3, unary_CHW):
    change, reason = BAD_IMAGES[name]
    with pytest.raises(InvalidInputError, match=reason):
        crf.refine(change(image_HW3), unary_CHW)


def test_unaries_of_several_variants_need_four_axes(crf, image_HW3, unary_CHW):
    with pytest.raises(InvalidInputError, match=r"\[V, C, H, W\]"):
        crf.refine_many(image_HW3, unary_CHW)


@pytest.mark.parametrize("bad", [[[1.0]], None, 3])
def test_a_unary_that_is_no_array(bad, crf, image_HW3):
    with pytest.raises(InvalidInputError):
        crf.refine(image_HW3, bad)


def read_only(array):
    array.setflags(write=False)
    return array


def strided(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), dtype=array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


ODD_ARRAYS = {
    "read-only": lambda a: read_only(a.copy()),
    "Fortran order": np.asfortranarray,
    "not contiguous": strided,
    "negative strides": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "not aligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), dtype=np.uint8)[1:].view(a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("name", ODD_ARRAYS)
def test_memory_layout_does_not_matter(name, crf, image_HW3, unary_CHW):
    """Ray's and Pillow's arrays are read-only, which pydensecrf refuses by itself."""
    image, unary = ODD_ARRAYS[name](image_HW3), ODD_ARRAYS[name](unary_CHW)
    before = image.copy(), unary.copy()
    assert np.array_equal(crf.refine(image, unary), crf.refine(image_HW3, unary_CHW))
    assert np.array_equal(image, before[0])
    assert np.array_equal(unary, before[1])


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_energies_give_numbers(size, crf, image_HW3, unary_CHW):
    prob_CHW = crf.refine(image_HW3, (np.sign(unary_CHW) * size).astype(np.float32))
    assert np.isfinite(prob_CHW).all()
    assert np.allclose(prob_CHW.sum(axis=0), 1, atol=1e-5)


def test_sigmas_too_small_for_the_image(crf, unary_factory):
    config = DenseCRFConfig(backend=crf.config.backend, bilateral_sxy_px=0.001, bilateral_srgb=0.001)
    image_HW3 = np.zeros((H, W, 3), np.uint8)
    with pytest.raises(InvalidInputError, match="raise sxy_px and srgb"):
        DenseCRF(config).refine(image_HW3, unary_factory(1, C, H, W)[0])
