"""Dense CRF by pydensecrf, Kraehenbuehl's own code: the reference for the other backends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.crf.config import DenseCRFConfig
from models.errors import InvalidInputError


class PydensecrfBackend:
    """Runs `pydensecrf.densecrf.DenseCRF2D`. It holds the GIL: run one process a core, not threads."""

    name = "pydensecrf"

    def __init__(self) -> None:
        self._module = _import_pydensecrf()

    def refine_many(
        self, image_HW3: NDArray[np.uint8], unary_VCHW: NDArray[np.float32], config: DenseCRFConfig
    ) -> NDArray[np.float32]:
        """Return the marginals of every unary, [V, C, H, W]. The input has been checked.

        One object serves all unaries: it keeps its lattices, and its answers are those of a fresh object.
        """
        _, num_labels, height, width = unary_VCHW.shape
        crf = self._module.DenseCRF2D(width, height, num_labels)
        prob_VCHW = np.empty_like(unary_VCHW)
        for variant, unary_CHW in enumerate(unary_VCHW):
            crf.setUnaryEnergy(unary_CHW.reshape(num_labels, -1))
            if variant == 0:
                _add_kernels(crf, image_HW3, config)
            prob_CN = np.asarray(crf.inference(config.num_iterations), dtype=np.float32)
            prob_VCHW[variant] = prob_CN.reshape(unary_CHW.shape)
        return prob_VCHW


def _add_kernels(crf: Any, image_HW3: NDArray[np.uint8], config: DenseCRFConfig) -> None:
    if config.gaussian_compat > 0:
        crf.addPairwiseGaussian(sxy=config.gaussian_sxy_px, compat=config.gaussian_compat)
    if config.bilateral_compat > 0:
        crf.addPairwiseBilateral(
            sxy=config.bilateral_sxy_px,
            srgb=config.bilateral_srgb,
            rgbim=image_HW3,
            compat=config.bilateral_compat,
        )


def _import_pydensecrf() -> Any:
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        raise InvalidInputError(
            "dense CRF: backend 'pydensecrf' is not installed; run `make install`, which builds it, "
            "or choose backend 'auto'"
        ) from error
    return densecrf
