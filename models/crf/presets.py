"""The published dense CRF parameter sets, by name.

Positions are in pixels of the image that the CRF is given, colours in grey levels of 0..255.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from models.crf.config import DenseCRFConfig
from models.errors import InvalidInputError

UnaryKind = Literal["labels", "probabilities", "softmax"]


@dataclass(frozen=True)
class DenseCRFPreset:
    """One published parameter set.

    Attributes:
        config: the parameters of the CRF.
        unary: which function of `unaries` the source uses: ``labels`` with a confidence of 0.7, ``probabilities``
            or ``softmax``.
        source: where the numbers come from, and what the source gives the CRF.
    """

    config: DenseCRFConfig
    unary: UnaryKind
    source: str


def _preset(
    gaussian: tuple[float, float],
    bilateral: tuple[float, float, float],
    num_iterations: int,
    unary: UnaryKind,
    source: str,
) -> DenseCRFPreset:
    """Pack (sxy, compat), (sxy, srgb, compat) in the order in which the papers list them."""
    config = DenseCRFConfig(
        gaussian_sxy_px=gaussian[0],
        gaussian_compat=gaussian[1],
        bilateral_sxy_px=bilateral[0],
        bilateral_srgb=bilateral[1],
        bilateral_compat=bilateral[2],
        num_iterations=num_iterations,
    )
    return DenseCRFPreset(config, unary, source)


PRESETS: Mapping[str, DenseCRFPreset] = MappingProxyType({
    "irn_affinity_labels": _preset(
        (3, 3), (50, 5, 10), 10, "labels",
        "IRN release, affinity labels from CAMs: argmax labels with a constant background of 0.30 (foreground) and "
        "0.05 (background), full-resolution RGB image, labels present in the image.",
    ),
    "psa_affinity_labels": _preset(
        (3, 3), (80, 13, 10), 10, "probabilities",
        "PSA release, affinity labels from CAMs: [(1 - max CAM)^alpha; CAMs] as they are, alpha 4 and 32, "
        "full-resolution RGB image.",
    ),
    "wsgcn_partial_labels": _preset(
        (4, 3), (20, 3, 10), 10, "probabilities",
        "WSGCN release, partial pseudo labels: scores as PSA's, image reduced to stride 4 (Lanczos) in BGR order; "
        "20 cells are 80 pixels of the full image.",
    ),
    "wsgcn_complete_labels": _preset(
        (3, 3), (50, 5, 3), 10, "softmax",
        "WSGCN release, complete pseudo labels: softmax over the GCN's probabilities (a second softmax), "
        "full-resolution RGB image, labels present in the image.",
    ),
    "pydensecrf_readme": _preset(
        (3, 3), (80, 13, 10), 5, "labels",
        "Example of the pydensecrf README: hard labels.",
    ),
    "acr_cam": _preset(
        (3, 3), (80, 13, 10), 10, "probabilities",
        "ACR release, CAM refinement: [(1 - max CAM)^alpha; CAMs] as they are, alpha 6 and 24, labels present.",
    ),
    "deeplab_v2_segmentation": _preset(
        (1, 3), (67, 3, 4), 10, "probabilities",
        "DeepLab v2 test time in kazuto1011/deeplab-pytorch and the ACR release: all 21 softmax probabilities; the "
        "ACR release gives the image in BGR order.",
    ),
    "isim_pseudo_labels": _preset(
        (3, 3), (50, 5, 10), 10, "labels",
        "ISIM release, pseudo labels for its own training: CAM argmax with a constant background of 0.3.",
    ),
    "isim_final_pseudo_masks": _preset(
        (3, 3), (50, 5, 10), 1, "labels",
        "ISIM, final pseudo masks after the random walk: background 0.20, one iteration.",
    ),
    "isim_segmentation": _preset(
        (3, 3), (80, 13, 10), 10, "probabilities",
        "ISIM, test time of the segmentation network: all 21 softmax probabilities.",
    ),
    "mctformer_segmentation": _preset(
        (4, 3), (83, 5, 3), 10, "probabilities",
        "MCTformer release, test time of the WRN-38 segmentation network: softmax fused over scales by maximum, "
        "21 labels.",
    ),
})  # fmt: skip


def get_preset(name: str) -> DenseCRFPreset:
    """Return the preset of that name.

    Raises:
        InvalidInputError: there is none; the message names the nearest.
    """
    if name in PRESETS:
        return PRESETS[name]
    nearest = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(PRESETS)}"
    raise InvalidInputError(f"dense CRF: no preset {name!r}; {hint}")
