"""Backends, images and unaries that the dense CRF's tests share."""

import importlib.util

import numpy as np
import pytest
import torch

from models.crf.native_backend import NativeBackend, declare
from models.crf.torch_backend import TorchBackend
from models.native_library import load_native_isa, supported_isas


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Threads gain nothing on images this small."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def native_builds():
    """A native backend of every instruction set that was built and that this CPU can run, by name."""
    libraries = {isa: load_native_isa("models.crf", "_dense_crf", isa) for isa in supported_isas()}
    return {isa: NativeBackend(declare(library)) for isa, library in libraries.items() if library is not None}


@pytest.fixture(scope="session")
def own_backends(native_builds):
    """All backends but pydensecrf, by name."""
    return {f"native-{isa}": backend for isa, backend in native_builds.items()} | {"torch": TorchBackend()}


@pytest.fixture(scope="session")
def pydensecrf_backend():
    """The reference; `make install` builds it."""
    if importlib.util.find_spec("pydensecrf") is None:
        pytest.skip("pydensecrf is not installed")
    from models.crf.pydensecrf_backend import PydensecrfBackend

    return PydensecrfBackend()


@pytest.fixture(scope="session")
def image_factory():
    """Images [H, W, 3]: `scene` has flat regions with grain, `noise` has none, `constant` has one colour."""

    def make(height, width, kind="scene", seed=0):
        rng = np.random.default_rng(seed)
        noise_HW3 = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if kind == "noise":
            return noise_HW3
        if kind == "constant":
            return np.full((height, width, 3), 97, dtype=np.uint8)
        region_HW = blobs(rng, 4, height, width).argmax(axis=0)
        colour_R3 = rng.integers(30, 226, (4, 3))
        return (colour_R3[region_HW] + noise_HW3 % 24 - 12).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def unary_factory():
    """Unaries [V, C, H, W] of smooth random scores, sharp where they are `confident`."""

    def make(num_variants, num_labels, height, width, seed=0, confident=2.0):
        rng = np.random.default_rng(seed + 1000)
        score_VCHW = np.stack([blobs(rng, num_labels, height, width) for _ in range(num_variants)])
        score_VCHW += 0.3 * rng.standard_normal(score_VCHW.shape)
        return (-confident * score_VCHW).astype(np.float32)

    return make


def blobs(rng, count, height, width):
    """Sums of a few random waves, about -1.5 to 1.5, [count, H, W]."""
    y_HW, x_HW = np.mgrid[:height, :width]
    waves = rng.uniform(-0.35, 0.35, (count, 3, 2)), rng.uniform(0, 2 * np.pi, (count, 3))
    angle_count3HW = np.einsum("ckd,dhw->ckhw", waves[0], np.stack((y_HW, x_HW))) + waves[1][:, :, None, None]
    return np.cos(angle_count3HW).sum(axis=1)
