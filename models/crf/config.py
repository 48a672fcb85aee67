"""Parameters of a dense CRF."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from models.errors import InvalidInputError

BackendName = Literal["auto", "native", "torch", "pydensecrf"]

# Below this no two pixels are neighbours, and float32 cannot hold positions in standard deviations.
SMALLEST_SIGMA = 1e-3
# Above this float32 cannot tell an energy of 1 from 0 beside a message.
LARGEST_COMPAT = 1e6
# 3840 x 2160, a 4K frame: larger images are more often a mistake than a wish, and memory grows with the pixels.
DEFAULT_MAX_PIXELS = 3840 * 2160


@dataclass(frozen=True)
class DenseCRFConfig:
    """Parameters of a fully connected CRF with a Gaussian and a bilateral Potts kernel, and how to compute it.

    The energy is ``sum_i U_i(x_i) + sum_{i<j} [x_i != x_j] (gaussian_compat k_g + bilateral_compat k_b)``, with
    ``k_g = exp(-|p_i - p_j|^2 / (2 gaussian_sxy_px^2))`` and
    ``k_b = exp(-|p_i - p_j|^2 / (2 bilateral_sxy_px^2) - |I_i - I_j|^2 / (2 bilateral_srgb^2))``.

    Source: Kraehenbuehl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials,
    NeurIPS 2011, equations 1 to 3. The defaults are those of the IRN release (`presets`: ``irn_affinity_labels``).

    Attributes:
        gaussian_sxy_px: standard deviation of the smoothness kernel in pixels, >= 0.001. Larger removes larger specks.
        gaussian_compat: weight of the smoothness kernel, 0 to 1e6; 0 leaves the kernel out.
        bilateral_sxy_px: standard deviation of the appearance kernel in pixels, >= 0.001. Larger joins pixels of like
            colour over larger distances.
        bilateral_srgb: standard deviation of the appearance kernel in grey levels of 0..255, >= 0.001. Smaller
            follows fainter edges.
        bilateral_compat: weight of the appearance kernel, 0 to 1e6; 0 leaves the kernel out.
        num_iterations: mean-field updates, >= 0; 0 gives softmax(-unary). Time is proportional to it.
        backend: ``auto`` is ``native`` where the native library was built, else ``torch``; all backends give the
            same labels.
        max_pixels: an image with more pixels is an error; memory is proportional to the pixels (docs/dense_crf.md).
            Default: our choice, a 4K frame.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read by pydantic where recipes are validated

    gaussian_sxy_px: float = 3.0
    gaussian_compat: float = 3.0
    bilateral_sxy_px: float = 50.0
    bilateral_srgb: float = 5.0
    bilateral_compat: float = 10.0
    num_iterations: int = 10
    backend: BackendName = "auto"
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        for name in ("gaussian_sxy_px", "bilateral_sxy_px", "bilateral_srgb"):
            sigma = getattr(self, name)
            _require(math.isfinite(sigma) and sigma >= SMALLEST_SIGMA, name, f"finite, {SMALLEST_SIGMA} or more", self)
        for name in ("gaussian_compat", "bilateral_compat"):
            _require(0 <= getattr(self, name) <= LARGEST_COMPAT, name, f"from 0 to {LARGEST_COMPAT:.0f}", self)
        _require(self.num_iterations >= 0, "num_iterations", "0 or more", self)
        _require(self.max_pixels >= 1, "max_pixels", "1 or more", self)
        _require(self.backend in get_args(BackendName), "backend", f"one of {', '.join(get_args(BackendName))}", self)


def _require(holds: bool, name: str, rule: str, config: DenseCRFConfig) -> None:
    if not holds:
        raise InvalidInputError(f"dense CRF: {name} must be {rule}, found {getattr(config, name)!r}")
