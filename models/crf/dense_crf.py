"""Fully connected CRF: refine label probabilities along the edges of an image."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.crf.config import DenseCRFConfig
from models.crf.lattice_codes import check_lattice_range
from models.crf.native_backend import NativeBackend, native_library
from models.crf.validation import checked_image, checked_unary
from models.errors import InvalidInputError


class DenseCRFBackend(Protocol):
    """One way to compute the marginals. The input that it gets has been checked."""

    name: str

    def refine_many(
        self, image_HW3: NDArray[np.uint8], unary_VCHW: NDArray[np.float32], config: DenseCRFConfig
    ) -> NDArray[np.float32]:
        """Return the marginals of every unary, [V, C, H, W]."""
        ...


class DenseCRF:
    """Mean-field inference in a fully connected CRF with a Gaussian and a bilateral Potts kernel.

    Source: Kraehenbuehl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials,
    NeurIPS 2011, algorithm 1. Results do not depend on threads or on earlier calls; nor on the other unaries of a call,
    bit for bit with ``native``, up to rounding with ``torch``. Several threads may share an engine.

    Args:
        config: the parameters; `presets` has the published sets.
        device: where the ``torch`` backend computes; with ``auto`` anything but ``cpu`` takes that backend.

    Raises:
        InvalidInputError: the backend that the config names cannot run here.
    """

    def __init__(self, config: DenseCRFConfig, device: str = "cpu") -> None:
        self.config = config
        self._backend = _make_backend(config, device)

    @property
    def backend_name(self) -> str:
        """Name of the backend that computes: ``native``, ``torch`` or ``pydensecrf``."""
        return self._backend.name

    def refine(self, image_HW3: NDArray[np.uint8], unary_CHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the marginal probabilities of one unary.

        Shapes:
            image_HW3: ``uint8`` RGB (or any three colours).
            unary_CHW: finite ``float32`` energies, -ln of how likely a label is (`unaries`).
            returns: [C, H, W] ``float32``, in [0, 1], summing to 1 over the labels.

        Raises:
            InvalidInputError: an array of another kind, shape or dtype, or not finite; or an image above `max_pixels`.
        """
        if isinstance(unary_CHW, np.ndarray) and unary_CHW.ndim != 3:
            raise InvalidInputError(f"unary must have shape [C, H, W], found shape {unary_CHW.shape}")
        prob_1CHW = self.refine_many(image_HW3, np.asarray(unary_CHW)[None])
        return np.asarray(prob_1CHW[0])

    def refine_many(self, image_HW3: NDArray[np.uint8], unary_VCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the marginals of several unaries of one image, which share its lattices; see `refine`.

        Shapes:
            unary_VCHW: V unaries of the same labels. Returns [V, C, H, W].
        """
        image = checked_image(image_HW3, self.config)
        unary = checked_unary(unary_VCHW, image)
        if unary.shape[1] == 1:
            return np.ones_like(unary)  # one label has all of the probability, whatever its energy
        check_lattice_range(image.shape[0], image.shape[1], self.config)
        return self._backend.refine_many(image, unary, self.config)


def _make_backend(config: DenseCRFConfig, device: str) -> DenseCRFBackend:
    name = _choose_backend(config, device)
    if name == "native":
        if native_library() is None:
            raise InvalidInputError(
                "dense CRF: backend 'native' was not built on this machine; install a C++17 compiler and reinstall, "
                "or choose backend 'auto'"
            )
        return NativeBackend()
    if name == "torch":
        from models.crf.torch_backend import TorchBackend  # torch and pydensecrf only where they are used

        return TorchBackend(device)
    from models.crf.pydensecrf_backend import PydensecrfBackend

    return PydensecrfBackend()


def _choose_backend(config: DenseCRFConfig, device: str) -> str:
    if config.backend != "auto":
        return config.backend
    return "native" if device == "cpu" and native_library() is not None else "torch"
