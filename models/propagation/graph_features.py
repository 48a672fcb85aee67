"""What an affinity network gives to the graph of an image: IRNet a boundary map, AffinityNet affinities."""

from dataclasses import dataclass

import numpy as np
import torch

from models.affinity.affinitynet import AffinityNet
from models.affinity.affinitynet_inference import affinity_features
from models.affinity.config import GRID_STRIDE
from models.affinity.irnet import IRNet
from models.affinity.irnet_inference import NodeFeatures, boundary_features
from models.affinity.pixel_pairs import half_plane_offsets
from models.backbones import EncoderConfig
from models.propagation.pair_affinity import affinity_from_features

AffinityModel = IRNet | AffinityNet


@dataclass(frozen=True)
class GraphFeatures:
    """Nodes and edges of one image; of the last two, one is None, as in `GridGraph`.

    Attributes:
        features_Dhw: Node features.
        boundary_hw: Boundary probability (IRNet, stride 4).
        affinity_Phw: Affinity planes of the half plane's offsets (AffinityNet, stride 8).
    """

    features_Dhw: torch.Tensor
    boundary_hw: torch.Tensor | None = None
    affinity_Phw: torch.Tensor | None = None


def graph_stride(model: AffinityModel) -> int:
    """Returns the stride of the model's grid."""
    return GRID_STRIDE if isinstance(model, AffinityNet) else 4


def graph_features(
    model: AffinityModel, image_HW3: np.ndarray, encoder: EncoderConfig, node_features: NodeFeatures, radius: int
) -> GraphFeatures:
    """Returns nodes and edges of one image, on the model's device.

    WSGCN-I takes both from IRNet's boundary branch, WSGCN-P from AffinityNet's last features (Pan et al., ICASSP 2022,
    section 4.1).

    Args:
        node_features: Of IRNet, see `boundary_features`; AffinityNet has one form.
        radius: Pairs are cells closer than this many cells.
    """
    if isinstance(model, AffinityNet):
        features_Dhw = affinity_features(model, image_HW3)
        return GraphFeatures(
            features_Dhw, affinity_Phw=affinity_from_features(features_Dhw, half_plane_offsets(radius))
        )
    found = boundary_features(model, image_HW3, encoder, node_features)
    return GraphFeatures(found.features_Dhw, boundary_hw=found.boundary_hw)
