import numpy as np
import pytest
import torch

from models.affinity.irnet import IRNet
from models.backbones import EncoderConfig, build_encoder
from models.errors import InvalidInputError
from models.propagation.gcn import solve
from models.propagation.gcn.config import GCNConfig
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ARTIFACT_FILE, PartialLabel
from wsss_jobs.stages.base import Failed, ItemInput, Ok, StageContext
from wsss_jobs.stages.propagate_gcn import PropagateGcn, PropagateGcnConfig

HEIGHT, WIDTH = 33, 47
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """The stage with a random IRNet and classes 1 and 2."""
    folder = tmp_path_factory.mktemp("affinity")
    torch.manual_seed(0)
    encoder = EncoderConfig(name="timm/test_efficientnet", weights=None)
    networks.save_irnet(IRNet(build_encoder(encoder), with_displacement=False), encoder, folder / ARTIFACT_FILE)
    context = StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={"affinity": folder})
    return PropagateGcn(PropagateGcnConfig(gcn=GCNConfig(num_steps=5)), context)


def entry(item_id, labels=(1,)):
    image_HW3 = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    label_hw = np.full((-(-HEIGHT // 4), -(-WIDTH // 4)), 255, np.uint8)
    label_hw[:2], label_hw[-2:] = 0, labels[0]
    item = DatasetItem(item_id, f"image {item_id}", "", WIDTH, HEIGHT, labels, "train")
    return ItemInput(item, image_HW3, {"partial": PartialLabel(label_hw)})


def test_scores_are_log_probabilities_of_background_and_tags(stage):
    [result] = stage.process([entry("a", labels=(2,))])
    assert isinstance(result, Ok)
    scores = result.record
    assert scores.class_ids == (0, 2)
    assert scores.scores_Chw.shape == (2, 9, 12)
    total_hw = np.exp(scores.scores_Chw).sum(axis=0)
    assert (total_hw <= 1 + 1e-5).all()  # class 1 has the rest
    assert (scores.scores_Chw <= 0).all()


def test_an_image_that_cannot_be_solved_does_not_take_its_batch_along(stage, monkeypatch):
    batch = [entry("good"), entry("bad"), entry("fine")]
    alone = stage.process([batch[0]])[0]
    real = solve.solve_batch

    def sometimes(graphs, *arguments, **options):
        if any(graph.item_id == "bad" for graph in graphs):
            raise InvalidInputError("item bad: it diverges")
        return real(graphs, *arguments, **options)

    monkeypatch.setattr(solve, "solve_batch", sometimes)
    good, bad, fine = stage.process(batch)
    assert bad == Failed("invalid_input", "item bad: it diverges")
    assert isinstance(fine, Ok)
    np.testing.assert_array_equal(good.record.scores_Chw, alone.record.scores_Chw)


def test_a_label_of_another_class_list_fails_alone(stage):
    wrong = entry("wrong")
    wrong.records["partial"].label_HW[0, 0] = 7
    good, failed = stage.process([entry("good"), wrong])
    assert isinstance(good, Ok)
    assert isinstance(failed, Failed)
    assert "7" in failed.message
