"""Dense CRF in torch, on the CPU or a CUDA device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.crf.config import DenseCRFConfig
from models.crf.lattice_codes import bilateral_extents, gaussian_extents
from models.crf.torch_lattice import TorchLattice, build_lattice


class TorchBackend:
    """Mean-field inference (Kraehenbuehl and Koltun 2011, algorithm 1) on lattices built of torch operations.

    Several unaries of one image are more channels of the same filters.
    """

    name = "torch"

    def __init__(self, device: str = "cpu") -> None:
        self._device = torch.device(device)

    @torch.no_grad()
    def refine_many(
        self, image_HW3: NDArray[np.uint8], unary_VCHW: NDArray[np.float32], config: DenseCRFConfig
    ) -> NDArray[np.float32]:
        """Return the marginals of every unary, [V, C, H, W]. The input has been checked."""
        num_variants, num_labels, height, width = unary_VCHW.shape
        flat_NK = torch.from_numpy(unary_VCHW).to(self._device).reshape(num_variants * num_labels, -1).T
        negative_unary_NVC = -flat_NK.reshape(-1, num_variants, num_labels)
        kernels = self._kernels(torch.from_numpy(image_HW3).to(self._device), config)
        prob_NVC = _softmax(negative_unary_NVC)
        for _ in range(config.num_iterations):
            message_NK = torch.zeros_like(flat_NK)
            for lattice, compat in kernels:
                message_NK = message_NK + compat * lattice.filter(prob_NVC.reshape(len(flat_NK), -1))
            prob_NVC = _softmax(negative_unary_NVC + message_NK.reshape(negative_unary_NVC.shape))
        prob_VCN = prob_NVC.permute(1, 2, 0).contiguous()
        return prob_VCN.reshape(num_variants, num_labels, height, width).cpu().numpy()

    def _kernels(self, image_HW3: Tensor, config: DenseCRFConfig) -> list[tuple[TorchLattice, float]]:
        height, width, _ = image_HW3.shape
        position_N2 = _positions(height, width, self._device)
        kernels = []
        if config.gaussian_compat > 0:
            feature_N2 = position_N2 / config.gaussian_sxy_px
            lattice = build_lattice(feature_N2, gaussian_extents(height, width, config))
            kernels.append((lattice, config.gaussian_compat))
        if config.bilateral_compat > 0:
            colour_N3 = image_HW3.reshape(-1, 3).float() / config.bilateral_srgb
            feature_N5 = torch.cat((position_N2 / config.bilateral_sxy_px, colour_N3), dim=1)
            lattice = build_lattice(feature_N5, bilateral_extents(height, width, config))
            kernels.append((lattice, config.bilateral_compat))
        return kernels


def _positions(height: int, width: int, device: torch.device) -> Tensor:
    """Return (x, y) of every pixel in row-major order, [N, 2]."""
    y_HW, x_HW = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack((x_HW, y_HW), dim=-1).reshape(-1, 2)


def _softmax(score_NVC: Tensor) -> Tensor:
    """Softmax of the last axis; torch's own is several times slower on rows of a few labels."""
    exp_NVC = torch.exp(score_NVC - score_NVC.amax(dim=-1, keepdim=True))
    return exp_NVC / exp_NVC.sum(dim=-1, keepdim=True)
