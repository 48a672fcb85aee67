"""The training loop in parts: what is cut ends as what is not, to the last bit. A stub stands for Ray Train."""

import shutil
from types import SimpleNamespace

import pytest
import ray.train
import ray.train.torch
import torch
from torch import nn

from wsss_jobs.training.loop import LoopOptions, TrainLoop
from wsss_jobs.training.optimiser_state import named_state, restore_named_state
from wsss_jobs.training.task import Schedule, TrainingState

NUM_ITEMS = 11


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    """Ray Train's context of a single worker that has no checkpoint; returns what it was told."""
    reported = []
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    monkeypatch.setattr(ray.train, "report", lambda metrics, checkpoint=None: reported.append(metrics))
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(ray.train.torch, "prepare_model", lambda model: model)
    return reported


class Line:
    """Fits a line with dropout, so that every draw of an epoch counts; may go on from a part before."""

    def __init__(self, last_epoch, before=None, *, optimiser="adamw", num_items=NUM_ITEMS, finished_at=None):
        self.schedule = Schedule(num_epochs=last_epoch, global_batch_size=3, optimiser=optimiser, momentum=0.9)
        self.schedule = self.schedule.model_copy(update={"poly_power": 0.0})
        self.before, self.num_items, self.finished_at = before, num_items, finished_at
        self.ended = None

    def __len__(self):
        return self.num_items

    def start(self):
        return None if self.before is None else self.before.ended[0]

    def is_finished(self, losses):
        return self.finished_at is not None and len(losses) >= self.finished_at

    def end(self, state):
        self.ended = (state,)

    def sample(self, index, epoch):
        generator = torch.Generator().manual_seed(100 * epoch + index)
        x = torch.randn(4, generator=generator)
        return {"x": x, "y": x.sum()[None]}

    def build_model(self):
        model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 1))
        if self.before is not None:
            model.load_state_dict(self.before.weights)
        return model

    def parameter_groups(self, model):
        return [{"params": model[0].parameters(), "lr": 0.02}, {"params": model[2].parameters(), "lr": 0.05}]

    def losses(self, model, batch):
        return {"loss": (model(batch["x"]) - batch["y"]).square().mean()}


def run(task):
    model = TrainLoop(task, LoopOptions(5, 1, 0), None).run()
    task.weights = {name: value.clone() for name, value in model.state_dict().items()}
    return task


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("cuts", [(2, 5), (1, 2, 5), (4, 5)])
def test_a_training_in_parts_ends_as_one_in_one_go(optimiser, cuts, one_worker):
    whole = run(Line(5, optimiser=optimiser))
    expected = [(row["epoch"], row["step"], row["loss"]) for row in one_worker]
    one_worker.clear()
    part = None
    for last_epoch in cuts:
        part = run(Line(last_epoch, part, optimiser=optimiser))
    assert [(row["epoch"], row["step"], row["loss"]) for row in one_worker] == expected
    for name, value in whole.weights.items():
        assert torch.equal(part.weights[name], value), name
    assert part.ended[0].epoch == 5


def test_without_the_optimisers_memory_it_would_end_elsewhere():
    whole, part = run(Line(5)), run(Line(2))
    part.ended = (TrainingState(2, {}),)
    forgetful = run(Line(5, part))
    assert not torch.equal(whole.weights["0.weight"], forgetful.weights["0.weight"])


def test_it_ends_early_when_its_task_says_so(one_worker):
    task = run(Line(9, finished_at=3))
    assert [row["epoch"] for row in one_worker] == [1, 2, 3]
    assert task.ended[0].epoch == 3
    one_worker.clear()
    run(Line(9, task, finished_at=2))  # the losses of the part before do not count
    assert [row["epoch"] for row in one_worker] == [4, 5]


@pytest.mark.parametrize("stops_after", [1, 2])
def test_losses_of_before_an_interruption_count(stops_after, one_worker, monkeypatch, tmp_path):
    """Whether a part is finished depends on the losses of all of its epochs, those of a process that died included."""
    before = run(Line(2))
    whole = run(Line(9, before, finished_at=3))
    expected = one_worker[-3:]
    one_worker.clear()

    def report(metrics, checkpoint=None):
        one_worker.append(metrics)
        shutil.copytree(checkpoint.path, tmp_path / str(len(one_worker)))
        if len(one_worker) == stops_after:
            raise InterruptedError

    monkeypatch.setattr(ray.train, "report", report)
    with pytest.raises(InterruptedError):
        run(Line(9, before, finished_at=3))
    checkpoint = ray.train.Checkpoint.from_directory(str(tmp_path / str(stops_after)))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: checkpoint)
    asked = []
    again = Line(9, before, finished_at=3)
    again.is_finished = lambda losses: asked.append(list(losses)) or len(losses) >= 3
    run(again)
    assert [row["loss"] for row in one_worker] == [row["loss"] for row in expected]
    assert asked == [[row["loss"] for row in expected[:count]] for count in range(stops_after, 4)]
    assert again.ended[0].epoch == whole.ended[0].epoch == 5
    assert all(torch.equal(again.weights[name], value) for name, value in whole.weights.items())


def test_a_part_that_had_converged_when_it_died_learns_nothing_more(one_worker, monkeypatch, tmp_path):
    def report(metrics, checkpoint=None):
        one_worker.append(metrics)
        shutil.copytree(checkpoint.path, tmp_path / "last", dirs_exist_ok=True)

    monkeypatch.setattr(ray.train, "report", report)
    done = run(Line(9, finished_at=2))
    one_worker.clear()
    checkpoint = ray.train.Checkpoint.from_directory(str(tmp_path / "last"))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: checkpoint)
    again = run(Line(9, finished_at=2))
    assert not one_worker
    assert again.ended[0].epoch == 2
    assert all(torch.equal(again.weights[name], value) for name, value in done.weights.items())


def test_steps_follow_the_number_of_images_that_are_left(one_worker):
    part = run(Line(2))
    one_worker.clear()
    run(Line(4, part, num_items=NUM_ITEMS - 3))  # 3 steps an epoch before, 2 now
    assert [(row["epoch"], row["step"]) for row in one_worker] == [(3, 6), (4, 8)]


def test_a_part_without_epochs_hands_on_what_it_got(one_worker):
    part = run(Line(3))
    one_worker.clear()
    again = run(Line(3, part))
    assert not one_worker
    assert all(torch.equal(again.weights[name], value) for name, value in part.weights.items())
    assert again.ended[0].epoch == 3


def test_the_state_of_unknown_parameters_is_left_out_and_new_ones_start_afresh():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    first = torch.optim.AdamW(model[0].parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    first.step()
    state = named_state(model, first)
    assert sorted(state) == ["0.bias", "0.weight"]
    both = torch.optim.AdamW(model.parameters(), lr=0.1)
    restore_named_state(model, both, {**state, "gone.weight": state["0.weight"]})
    assert set(both.state) == set(model[0].parameters())
    restored = both.state[model[0].weight]
    assert torch.equal(restored["exp_avg"], state["0.weight"]["exp_avg"])
    assert float(restored["step"]) == 1.0
    both.step()
    assert not torch.equal(restored["exp_avg"], state["0.weight"]["exp_avg"])  # a copy: the stored one stays
    assert float(state["0.weight"]["step"]) == 1.0
