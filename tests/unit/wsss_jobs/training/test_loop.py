"""The training loop without Ray: networks that take turns, and trainings that go on where they stopped, bit by bit."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.train
import torch
from torch import nn

from wsss_jobs.errors import StageError
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.stage_check import check_stage
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.training.job import loader_workers
from wsss_jobs.training.kept_epochs import EpochKeeper
from wsss_jobs.training.loop import LoopOptions, TrainLoop
from wsss_jobs.training.task import Player
from wsss_jobs.training.turns import take_turns
from wsss_jobs.training.within_epoch import ResumableSchedule

STEPS_AN_EPOCH = 5


class InterruptedTrainingError(Exception):
    pass


class Harness:
    """Stands in for Ray Train: keeps the latest checkpoint, and stops a training at a report."""

    def __init__(self, folder):
        self.folder = folder
        self.reports = []
        self.stop_at = None
        self.has_checkpoint = False

    def report(self, metrics, checkpoint=None):
        self.reports.append(metrics)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(Path(checkpoint.path), self.folder)
        self.has_checkpoint = True
        if len(self.reports) == self.stop_at:
            raise InterruptedTrainingError

    def get_checkpoint(self):
        return ray.train.Checkpoint.from_directory(str(self.folder)) if self.has_checkpoint else None


@pytest.fixture
def harness(monkeypatch, tmp_path):
    found = Harness(tmp_path / "checkpoint")
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr("ray.train.get_context", lambda: context)
    monkeypatch.setattr("ray.train.torch.get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr("ray.train.torch.prepare_model", lambda model: model)
    monkeypatch.setattr("ray.train.report", found.report)
    monkeypatch.setattr("ray.train.get_checkpoint", found.get_checkpoint)
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    return found


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        self.second = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.untrained = nn.Linear(3, 3)


class Data:
    """Vectors; four a step."""

    def __init__(self, **schedule):
        options = {"num_epochs": 3, "global_batch_size": 4, "optimiser": "adamw", **schedule}
        self.schedule = ResumableSchedule(**options)

    def __len__(self):
        return 4 * STEPS_AN_EPOCH + 1

    def sample(self, index, epoch):
        return {"x": torch.randn(3, generator=torch.Generator().manual_seed(1000 * epoch + index))}

    def build_model(self):
        return Pair()

    def finish(self, model, device):
        pass

    def save(self, model, path):
        pass


class Contest(Data):
    """`second` tells drawn from real vectors; `first` draws them."""

    def players(self, model):
        def second_losses(acting, batch):
            with torch.no_grad():
                drawn = model.first.eval()(batch["x"])
                model.first.train()
            return {"loss": acting(drawn).mean() - acting(batch["x"]).mean() + acting(drawn).square().mean()}

        def first_losses(acting, batch):
            return {"loss": -model.second(acting(batch["x"])).mean(), "norm": acting(batch["x"]).square().mean()}

        return [
            Player(model.second, [{"params": model.second.parameters(), "lr": 0.01}], second_losses, "second_"),
            Player(model.first, [{"params": model.first.parameters(), "lr": 0.02}], first_losses),
        ]


class Alone(Data):
    """One network, by one loss."""

    def parameter_groups(self, model):
        return [{"params": model.first.parameters(), "lr": 0.01}]

    def losses(self, model, batch):
        return {"loss": model.first(batch["x"]).square().mean()}


def loop(task, num_loader_workers=0):
    return TrainLoop(task, LoopOptions(seed=1, num_threads=1, num_loader_workers=num_loader_workers), None)


def learnt(history):
    """What does not depend on the clock or the process."""
    return [{name: row[name] for name in row if name not in ("seconds", "peak_memory_mib")} for row in history]


def test_turns_change_their_own_network_alone(harness):
    job = Contest()
    running = loop(job)
    model, batch = running.module, {"x": torch.randn(4, 3)}
    for turn, own, other in zip(running.turns, (model.second, model.first), (model.first, model.second), strict=True):
        before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
        weights = [parameter.clone() for parameter in own.parameters()]
        turn.learn(turn.losses(batch)["loss"], 1.0)
        assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
        assert any(not torch.equal(a, b) for a, b in zip(own.parameters(), weights, strict=True))
    assert not any(parameter.requires_grad for parameter in model.untrained.parameters())


def test_each_optimiser_follows_the_poly_curve_from_its_own_rate(harness):
    running = loop(Contest(num_epochs=1))
    batch = {"x": torch.randn(4, 3)}
    for factor in (1.0, 0.5):
        rates = []
        for turn in running.turns:
            turn.learn(turn.losses(batch)["loss"], factor)
            rates.append(turn.optimiser.param_groups[0]["lr"])
        assert rates == [0.01 * factor, 0.02 * factor]


@pytest.mark.parametrize("task", [Contest, Alone])
@pytest.mark.parametrize(("checkpoint_steps", "stop_at"), [(None, 1), (None, 2), (2, 1), (2, 2), (2, 5), (3, 3)])
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(harness, task, checkpoint_steps, stop_at):
    """At the end of an epoch or within one; dropout, BatchNorm's statistics and both optimisers included."""
    whole = loop(task(checkpoint_steps=checkpoint_steps))
    expected = whole.run().state_dict()
    harness.reports, harness.has_checkpoint, harness.stop_at = [], False, stop_at
    with pytest.raises(InterruptedTrainingError):
        loop(task(checkpoint_steps=checkpoint_steps)).run()
    resumed = loop(task(checkpoint_steps=checkpoint_steps))
    assert resumed.step < 3 * STEPS_AN_EPOCH
    found = resumed.run().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert learnt(resumed.history) == learnt(whole.history)


def test_a_process_that_prepares_samples_changes_nothing(harness):
    class Reporting(Contest):
        def sample(self, index, epoch):
            return super().sample(index, epoch) | {"process": torch.tensor(os.getpid())}

        def players(self, model):
            first, second = super().players(model)
            processes.clear()

            def losses(acting, batch):
                processes.update(batch["process"].tolist())
                return first.losses(acting, batch)

            return [replace(first, losses=losses), second]

    processes = set()
    expected = loop(Reporting()).run().state_dict()
    assert processes == {os.getpid()}
    found = loop(Reporting(), num_loader_workers=1).run().state_dict()
    assert os.getpid() not in processes
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize(
    ("device", "num_cpus", "expected"),
    [("cpu", 1, 0), ("cpu", 2, 0), ("cpu", 16, 0), ("cuda", 1, 1), ("cuda", 4, 4), ("cuda", 64, 8)],
)
def test_loader_processes(device, num_cpus, expected):
    assert loader_workers(device, num_cpus) == expected


def test_within_an_epoch_so_many_checkpoints_are_kept(harness):
    loop(Contest(checkpoint_steps=2)).run()
    assert len(harness.reports) == 3 * 3  # behind steps 2 and 4, and behind the epoch
    assert [row["step"] for row in harness.reports if "epoch" in row] == [5, 10, 15]


def test_metrics_name_every_loss_and_the_memory(harness):
    running = loop(Contest())
    running.run()
    names = {"loss", "norm", "second_loss", "epoch", "step", "seconds", "peak_memory_mib"}
    assert all(set(row) == names for row in running.history)
    assert running.history[-1]["peak_memory_mib"] > 50


class Keeping(Contest):
    """Has its weights stored behind the first and the second epoch of three."""

    keep_epochs = (1, 2)

    def save(self, model, path):
        torch.save(model.state_dict(), path)


def keeping(folder):
    """A loop as a Ray Train worker makes it, and where it stores."""
    task, outputs = Keeping(checkpoint_steps=2), StageOutputs(LocalStore(folder), "train_acr", "abcd")
    options = LoopOptions(seed=1, num_threads=1, num_loader_workers=0)
    return TrainLoop(task, options, None, EpochKeeper(task, outputs)), outputs


def kept(outputs, epoch):
    return torch.load(outputs.folder.root / "checkpoint" / f"epoch_{epoch}.pt", weights_only=True)


def same(found, expected):
    return all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_the_weights_behind_an_epoch_are_kept_and_nothing_is_learnt_otherwise(harness, tmp_path):
    running, outputs = keeping(tmp_path / "run")
    found = running.run().state_dict()
    assert [info.key for info in outputs.folder.list()] == ["checkpoint/epoch_1.pt", "checkpoint/epoch_2.pt"]
    harness.has_checkpoint = False
    without = loop(Contest(checkpoint_steps=2)).run().state_dict()
    assert same(found, without)
    assert not same(kept(outputs, 1), kept(outputs, 2))
    assert not same(kept(outputs, 2), found)
    assert kept(outputs, 2)["first.1.num_batches_tracked"] == 2 * 2 * STEPS_AN_EPOCH  # it is drawn with in both turns


@pytest.mark.parametrize("stop_at", [3, 4, 6])  # behind the first epoch, within the second, behind it
def test_an_interrupted_training_keeps_every_epoch(harness, tmp_path, stop_at):
    whole, expected = keeping(tmp_path / "whole")
    whole.run()
    harness.reports, harness.has_checkpoint, harness.stop_at = [], False, stop_at
    running, outputs = keeping(tmp_path / "run")
    with pytest.raises(InterruptedTrainingError):
        running.run()
    # Ray Train has the checkpoint behind the epoch, so no one comes here again: the file must be there already.
    assert len(list(outputs.folder.list())) == stop_at // 3
    keeping(tmp_path / "run")[0].run()
    for epoch in (1, 2):
        assert same(kept(outputs, epoch), kept(expected, epoch)), epoch


def test_a_training_that_dies_between_the_file_and_the_checkpoint_writes_no_other_file(harness, tmp_path, monkeypatch):
    def die(metrics, checkpoint=None):
        raise InterruptedTrainingError

    running, outputs = keeping(tmp_path / "run")
    monkeypatch.setattr("ray.train.report", lambda metrics, checkpoint=None: "epoch" in metrics and die(metrics))
    with pytest.raises(InterruptedTrainingError):
        running.run()
    [first] = outputs.folder.list()
    digest = hashlib.sha256(outputs.folder.get(first.key)).hexdigest()
    monkeypatch.setattr("ray.train.report", harness.report)
    keeping(tmp_path / "run")[0].run()
    assert hashlib.sha256(outputs.folder.get(first.key)).hexdigest() == digest
    assert len(list(outputs.folder.list())) == 2


def test_only_worker_0_keeps(harness, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.train.report", lambda metrics, checkpoint=None: None)
    context = SimpleNamespace(get_world_rank=lambda: 1, get_world_size=lambda: 2)
    monkeypatch.setattr("ray.train.get_context", lambda: context)
    running, outputs = keeping(tmp_path / "run")
    running.run()
    assert list(outputs.folder.list()) == []


def test_the_manifest_knows_the_kept_epochs_and_verify_misses_them(harness, tmp_path):
    running, outputs = keeping(tmp_path / "run")
    running.run()
    manifest = outputs.finalise((), "artifacts")
    assert [output.key for output in manifest.outputs] == ["checkpoint/epoch_1.pt", "checkpoint/epoch_2.pt"]
    assert check_stage(outputs, [], [], "artifacts").findings == ()
    outputs.folder.delete(["checkpoint/epoch_1.pt"])
    outputs.folder.put("checkpoint/epoch_2.pt", b"torn")
    findings = check_stage(outputs, [], [], "artifacts").findings
    assert [(finding.kind, finding.key) for finding in findings] == [
        ("missing", "checkpoint/epoch_1.pt"), ("torn", "checkpoint/epoch_2.pt"),
    ]  # fmt: skip


def test_a_loss_that_is_no_number_stops_the_training_and_is_named(harness):
    class Diverging(Contest):
        def sample(self, index, epoch):
            return {"x": torch.full((3,), float("nan"))}

    with pytest.raises(StageError, match="second_loss became nan at step 1"):
        loop(Diverging()).run()


def test_a_task_of_one_network_takes_one_turn(harness):
    [turn] = take_turns(Pair(), Alone())
    assert turn.prefix == ""
