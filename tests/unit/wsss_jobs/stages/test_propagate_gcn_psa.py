"""WSGCN-P: the GCN on AffinityNet's features and affinities, at stride 8."""

import numpy as np
import pytest
import torch

from models.affinity.affinitynet import AffinityNetConfig, build_affinitynet
from models.affinity.affinitynet_inference import affinity_features
from models.affinity.pixel_pairs import half_plane_offsets
from models.backbones import EncoderConfig
from models.pooled_grid import reduced_image
from models.propagation.config import AffinityGraphConfig
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.solve import solve_batch
from models.propagation.grid_graph import GridGraph
from models.propagation.pair_affinity import affinity_from_features
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ARTIFACT_FILE, PartialLabel
from wsss_jobs.stages.base import Failed, ItemInput, Ok, StageContext
from wsss_jobs.stages.propagate_gcn import PropagateGcn, PropagateGcnConfig

HEIGHT, WIDTH = 61, 83
GCN = GCNConfig(num_steps=5, graph=AffinityGraphConfig(graph="walk", beta=8.0))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("affinitynet")
    torch.manual_seed(0)
    encoder = EncoderConfig("timm/test_efficientnet", weights=None)
    model = build_affinitynet(AffinityNetConfig(encoder, frozen_stages=0, group_norm=True))
    networks.save_affinitynet(model, folder / ARTIFACT_FILE)
    context = StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={"affinity": folder})
    return PropagateGcn(PropagateGcnConfig(gcn=GCN), context)


def entry(stride=8):
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    label = np.full((-(-HEIGHT // stride), -(-WIDTH // stride)), 255, np.uint8)
    label[:2], label[-2:] = 0, 2
    return ItemInput(DatasetItem("a", "a", "", WIDTH, HEIGHT, (2,), "train"), image, {"partial": PartialLabel(label)})


def test_the_problem_is_f9_its_affinities_and_the_image_cell_by_cell(stage):
    given = entry()
    [result] = stage.process([given])
    assert isinstance(result, Ok)
    features = affinity_features(stage._model, given.image)
    graph = GridGraph(
        "a",
        features,
        torch.from_numpy(reduced_image(given.image, 8).copy()),
        torch.from_numpy(given.records["partial"].label_HW),
        3,
        affinity_Phw=affinity_from_features(features, half_plane_offsets(5)),
    )
    [prob_hwC] = solve_batch([graph], stage._gcn, device="cpu", num_threads=1)
    expected = torch.log(prob_hwC[..., [0, 2]].clamp_min(1e-30)).permute(2, 0, 1).numpy()
    np.testing.assert_array_equal(result.record.scores_Chw, expected)
    assert result.record.scores_Chw.shape == (2, 8, 11)
    assert result.record.class_ids == (0, 2)
    assert not result.record.corner_aligned


def test_a_partial_label_on_irnets_grid_is_explained(stage):
    good, failed = stage.process([entry(), entry(stride=4)])
    assert isinstance(good, Ok)
    assert isinstance(failed, Failed)
    assert "16 x 21 cells" in failed.message
    assert "set `stride: 8` in label_partially" in failed.message
