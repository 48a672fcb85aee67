"""Dense CRF in C++ (`native/`), one core a call, without the GIL.

`models.native_library` picks the build for this CPU.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.crf.config import DenseCRFConfig
from models.errors import InvalidInputError
from models.native_library import load_native

INTERFACE_VERSION = 1

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_OUT_OF_MEMORY, _OUT_OF_RANGE = 1, 2
# Images of a data set come in a few sizes; a lattice of positions takes about 32 bytes a pixel.
_NUM_GAUSSIAN_LATTICES = 8
# A thread keeps the memory of its last image, unless that was a giant one.
_MAX_KEPT_BYTES = 512 * 2**20


class NativeBackend:
    """Mean-field inference (Kraehenbuehl and Koltun 2011, algorithm 1) on permutohedral lattices, float32.

    The bilateral lattice is built once an image and serves all unaries; the lattice of positions is kept from image
    to image of a size. Safe to call from several threads at a time.

    Args:
        library: a certain build, as `declare` returns it; by default that of this CPU.

    Raises:
        ImportError: the library was not built on this machine.
    """

    name = "native"

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        chosen = library or native_library()
        if chosen is None:
            message = "the native dense CRF was not built on this machine"
            raise ImportError(message)
        self._library = chosen
        self._memory = threading.local()
        self._gaussian = functools.lru_cache(_NUM_GAUSSIAN_LATTICES)(self._new_gaussian)

    def refine_many(
        self, image_HW3: NDArray[np.uint8], unary_VCHW: NDArray[np.float32], config: DenseCRFConfig
    ) -> NDArray[np.float32]:
        """Return the marginals of every unary, [V, C, H, W]. The input has been checked."""
        num_variants, num_labels, height, width = unary_VCHW.shape
        prob_VCHW = np.empty_like(unary_VCHW)
        gaussian = None
        if config.gaussian_compat > 0:
            gaussian = self._gaussian(height, width, config.gaussian_sxy_px)
        workspace = self._workspace()
        status = self._library.dense_crf_refine(
            workspace.address,
            None if gaussian is None else gaussian.address,
            config.gaussian_compat,
            image_HW3.ctypes.data,
            height,
            width,
            config.bilateral_sxy_px,
            config.bilateral_srgb,
            config.bilateral_compat,
            unary_VCHW.ctypes.data,
            num_variants,
            num_labels,
            config.num_iterations,
            prob_VCHW.ctypes.data,
        )
        if self._library.dense_crf_workspace_bytes(workspace.address) > _MAX_KEPT_BYTES:
            del self._memory.workspace
        _check(status, height, width)
        return prob_VCHW

    def _workspace(self) -> _NativeObject:
        """Return the calling thread's own memory."""
        if not hasattr(self._memory, "workspace"):
            address = self._library.dense_crf_workspace_new()
            _check(_OUT_OF_MEMORY if not address else 0, 0, 0)
            self._memory.workspace = _NativeObject(address, self._library.dense_crf_workspace_free)
        workspace: _NativeObject = self._memory.workspace
        return workspace

    def _new_gaussian(self, height: int, width: int, sigma_px: float) -> _NativeObject:
        address = self._library.dense_crf_gaussian_new(height, width, sigma_px)
        _check(_OUT_OF_MEMORY if not address else 0, height, width)
        return _NativeObject(address, self._library.dense_crf_gaussian_free)


class _NativeObject:
    """An object that C++ made and that is freed with its last reference."""

    def __init__(self, address: int, free: Callable[[int], None]) -> None:
        self.address = address
        # Not when the interpreter ends: another thread may still compute with it, and the system takes all back anyway.
        weakref.finalize(self, free, address).atexit = False


@functools.cache
def native_library() -> ctypes.CDLL | None:
    """Return the build for this CPU, or None; where there is none, one line is logged."""
    library = load_native("models.crf", "_dense_crf")
    return None if library is None else declare(library)


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return the library with its functions' types declared and its version checked."""
    library.dense_crf_abi_version.restype = ctypes.c_int
    if library.dense_crf_abi_version() != INTERFACE_VERSION:
        message = "the native dense CRF was built from other sources; reinstall the package"
        raise ImportError(message)
    _declare_object(library, "workspace", [])
    _declare_object(library, "gaussian", [_INT, _INT, _FLOAT])
    library.dense_crf_refine.restype = ctypes.c_int
    library.dense_crf_refine.argtypes = [
        *(_POINTER, _POINTER, _FLOAT, _POINTER, _INT, _INT, _FLOAT, _FLOAT, _FLOAT),
        *(_POINTER, _INT, _INT, _INT, _POINTER),
    ]
    return library


def _declare_object(library: ctypes.CDLL, name: str, arguments: list[type]) -> None:
    new, free, num_bytes = (getattr(library, f"dense_crf_{name}_{verb}") for verb in ("new", "free", "bytes"))
    new.restype, new.argtypes = _POINTER, arguments
    free.restype, free.argtypes = None, [_POINTER]
    num_bytes.restype, num_bytes.argtypes = ctypes.c_uint64, [_POINTER]


def _check(status: int, height: int, width: int) -> None:
    if status == _OUT_OF_MEMORY:
        message = f"dense CRF: not enough memory for an image of {width} x {height} pixels"
        raise MemoryError(message)
    if status == _OUT_OF_RANGE:  # `check_lattice_range` stands in front of this
        raise InvalidInputError("dense CRF: the features span more standard deviations than the lattice can number")
