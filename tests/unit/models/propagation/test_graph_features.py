"""Affinities of AffinityNet as a graph: symmetric, in range, complete; and the GCN that runs on it."""

import numpy as np
import pytest
import torch

from models.affinity.affinitynet import AffinityNetConfig, build_affinitynet
from models.affinity.irnet import IRNet
from models.affinity.pixel_pairs import half_plane_offsets
from models.backbones import EncoderConfig, build_encoder
from models.propagation.affinity_graph import one_hop_adjacency
from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.problem import prepare
from models.propagation.graph_features import graph_features, graph_stride
from models.propagation.grid_graph import GridGraph
from models.propagation.pair_affinity import affinity_from_features
from models.propagation.stencil import GridStencil

ENCODER = EncoderConfig("timm/test_efficientnet", weights=None, output_stride=16)
OFFSETS = tuple(half_plane_offsets(5))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_affinitynet(AffinityNetConfig(ENCODER, frozen_stages=0, group_norm=True)).eval()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 83, 3), dtype=np.uint8)


def dense(planes_Phw):
    stencil = GridStencil(OFFSETS, planes_Phw, torch.ones_like(planes_Phw[0]))
    return stencil.to_csr(stencil.pattern()).to_dense().numpy()


def test_affinities_of_an_image_equal_the_definition(model, image):
    found = graph_features(model, image, ENCODER, "released", radius=5)
    assert found.boundary_hw is None
    assert found.features_Dhw.shape == (448, 8, 11)
    assert graph_stride(model) == 8
    matrix_NN = dense(found.affinity_Phw)
    assert np.array_equal(matrix_NN, matrix_NN.T)
    assert matrix_NN.min() >= 0
    assert matrix_NN.max() <= 1
    flat_ND = found.features_Dhw.flatten(1).T.double().numpy()
    y, x = np.divmod(np.arange(88), 11)
    for i, j in ((0, 1), (0, 12), (40, 42), (87, 54), (3, 80)):
        near = (y[i] - y[j]) ** 2 + (x[i] - x[j]) ** 2 < 25
        expected = np.exp(-sum(abs(a - b) for a, b in zip(flat_ND[i], flat_ND[j], strict=True)) / 448) if near else 0.0
        assert matrix_NN[i, j] == pytest.approx(expected, rel=1e-5)


def test_affinities_follow_the_cells_through_a_mirror_and_any_order_of_channels(model, image):
    features = graph_features(model, image, ENCODER, "released", radius=5).features_Dhw
    order = torch.randperm(448, generator=torch.Generator().manual_seed(0))
    plain = dense(affinity_from_features(features, OFFSETS))
    np.testing.assert_allclose(dense(affinity_from_features(features[order], OFFSETS)), plain, rtol=1e-5)
    h, w = features.shape[1:]
    mirror = np.arange(h * w).reshape(h, w)[:, ::-1].ravel()
    mirrored = dense(affinity_from_features(features.flip(-1), OFFSETS))
    np.testing.assert_allclose(mirrored, plain[np.ix_(mirror, mirror)], rtol=1e-5)


def test_no_cell_of_a_voc_grid_is_isolated():
    """The released code leaves 10 cells of 47 x 63 without an edge, and builds 80,410 pairs; here are all 93,314."""
    planes = affinity_from_features(torch.zeros(1, 47, 63), OFFSETS)
    assert int(planes.sum()) == 93_314
    degrees = GridStencil(OFFSETS, planes, torch.zeros(47, 63)).row_sums_hw()
    assert (int(degrees.min()), int(degrees.max())) == (21, 68)


@pytest.mark.parametrize("kind", ["one_hop", "walk"])
def test_a_graph_of_planes_is_a_graph_of_a_gcn(model, image, kind):
    found = graph_features(model, image, ENCODER, "released", radius=5)
    label = np.full((8, 11), 255, np.uint8)
    label[0], label[-1] = 0, 1
    graph = GridGraph("a", found.features_Dhw, torch.zeros(8, 11, 3, dtype=torch.uint8), torch.from_numpy(label), 3,
                      affinity_Phw=found.affinity_Phw)  # fmt: skip
    config = AffinityGraphConfig(beta=8.0, graph=kind)
    if kind == "one_hop":
        adjacency = one_hop_adjacency(graph, config)
        scaled = adjacency.column_scale_hw[None]
        rows = adjacency.row_scale_hw * adjacency.stencil.apply(scaled)[0]
    else:
        from models.propagation.walk_matrix import walk_matrix

        rows = walk_matrix(graph, config).sum(dim=1)
    assert torch.allclose(rows.double(), torch.ones_like(rows.double()), atol=1e-5)


def test_irnet_gives_a_boundary_map_at_stride_4(image):
    irnet = IRNet(build_encoder(ENCODER), with_displacement=False).eval()
    found = graph_features(irnet, image, ENCODER, "released", radius=5)
    assert found.affinity_Phw is None
    assert found.boundary_hw.shape == (15, 21)
    assert graph_stride(irnet) == 4


def test_the_gcn_of_f9_has_the_published_number_of_parameters(graph_factory):
    initial = prepare(graph_factory(num_features=448, num_classes=21), GCNConfig()).initial
    assert sum(tensor.numel() for tensor in initial.tensors()) == 7541
