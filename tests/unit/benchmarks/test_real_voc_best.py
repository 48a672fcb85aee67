"""The best of all: recipes that are composed, thresholds, what is taken over, what is chosen and what it costs."""

import dataclasses
import json
import os
from types import SimpleNamespace

import pytest

from benchmarks import real_voc_best_reuse
from benchmarks.real_voc import all_places
from benchmarks.real_voc_best_choice import RIVALS, best_of, choice, costs, mious, total_seconds, with_margins
from benchmarks.real_voc_best_recipes import CHAINS, FOLDER, SEEDS, best_comparison, places
from benchmarks.real_voc_best_reuse import reuse
from benchmarks.real_voc_best_students import masks_of, student_margins
from benchmarks.real_voc_best_thresholds import Known, find_thresholds, up_to, with_thresholds
from wsss_jobs.comparison.config import Comparison, Method, load_comparison
from wsss_jobs.comparison.jobs import VariantJob, variant_recipes
from wsss_jobs.pipeline import build_plan
from wsss_jobs.storage.local_store import LocalStore

THRESHOLDS = {"acr": {"cam": 0.4, "walk": 0.5}}


@pytest.fixture
def comparison(tmp_path):
    return best_comparison(tmp_path / "recipes", [0, 1])


def _plan(recipe):
    return build_plan(recipe.stages, "dataset", recipe.seed)


def _fingerprints(recipe):
    return {(stage.name, stage.fingerprint) for stage in _plan(recipe).stages}


def _jobs(comparison, tmp_path):
    """Returns jobs with plans and a store, without images and weights."""
    store = LocalStore(tmp_path / "run")
    return [
        VariantJob(variant, seed, SimpleJob(_plan(recipe), store))
        for (variant, seed), recipe in variant_recipes(comparison, places(tmp_path, tmp_path)).items()
    ]


@dataclasses.dataclass(frozen=True)
class SimpleJob:
    plan: object
    store: LocalStore


def test_every_combination_is_a_recipe_that_plans(comparison, tmp_path):
    recipes = variant_recipes(comparison, places(tmp_path, tmp_path))
    assert {variant for variant, _ in recipes} == {f"{seed}_{chain}" for seed in SEEDS for chain in CHAINS}
    assert len(comparison.methods) == len(SEEDS) * sum(len(chain.products) for chain in CHAINS.values())
    for method in comparison.methods.values():
        names = {stage.name for stage in _plan(recipes[method.variant, 0]).stages}
        assert method.step.partition("/")[0] in names


def test_plain_cams_have_the_stages_of_the_comparison_that_was_made_before(comparison, tmp_path):
    ours = variant_recipes(comparison, places(tmp_path, tmp_path))
    before = load_comparison(str(FOLDER / "real_voc_compare.yaml"))
    theirs = variant_recipes(before, all_places(tmp_path, tmp_path))
    for variant, name in (("cam_i", "wsgcn_i"), ("cam_p", "wsgcn_p"), ("cam_p_tuned", "psa_walk_tuned")):
        assert _fingerprints(ours[variant, 1]) == _fingerprints(theirs[name, 1])


def test_own_places_are_those_of_every_network(comparison, tmp_path):
    for recipe in variant_recipes(comparison, places(tmp_path, tmp_path)).values():
        assert "mobilenet_v2_imagenet.pt" not in _weights(recipe.content)


def _weights(content):
    if isinstance(content, dict):
        own = {content["weights"]} if "weights" in content else set()
        return own.union(*map(_weights, content.values()))
    return set().union(*map(_weights, content)) if isinstance(content, list) else set()


def test_thresholds_change_their_method_alone(comparison, tmp_path):
    before, after = (
        variant_recipes(each, places(tmp_path, tmp_path))
        for each in (comparison, with_thresholds(comparison, THRESHOLDS))
    )
    changed = {key[0] for key in before if _fingerprints(before[key]) != _fingerprints(after[key])}
    assert changed == {"acr_i", "acr_p", "acr_p_tuned"}
    configs = {stage.name: stage.config for stage in after["acr_i", 0].stages}
    labels = configs["make_affinity_labels"].labels
    assert (labels.foreground_threshold, labels.background_threshold) == (0.4, 0.12)
    assert configs["read_cams"].background_threshold == 0.4
    assert configs["random_walk"].background_threshold == 0.5


def test_a_cut_plan_ends_with_the_stage(comparison, tmp_path):
    [job] = [each.job for each in _jobs(comparison, tmp_path) if (each.variant, each.seed) == ("isim_i", 0)]
    cut = up_to(job, "train_affinity").plan
    assert cut.stages[-1].name == "train_affinity"
    assert {"infer_cams", "isim_scores_3", "make_affinity_labels"} <= {stage.name for stage in cut.stages}
    inside = {stage.name for segment in cut.segments for stage in segment.stages}
    assert inside == {stage.name for stage in cut.stages}


def test_thresholds_are_found_where_they_are_needed(comparison, tmp_path, monkeypatch):
    ran = []

    def run(jobs):
        ran.append({each.variant: each.job.plan.stages[-1].name for each in jobs})

    monkeypatch.setattr("benchmarks.real_voc_best_thresholds.is_done", lambda job, name: True)
    monkeypatch.setattr("benchmarks.real_voc_best_thresholds.FIND", {"cam": lambda _: 0.3456, "walk": lambda _: None})
    known = Known(tmp_path / "known.json")
    only = ["cam_i", "acr_i", "isim_p"]
    found = find_thresholds(comparison, only, lambda each: _jobs(each, tmp_path), run, known)
    assert found == {"acr": {"cam": 0.35}, "isim": {"cam": 0.35}}
    assert ran == [{"acr_i": "infer_cams", "isim_i": "infer_cams"}, {"acr_i": "train_affinity"}]


def test_a_threshold_is_found_once_for_each_fingerprint(comparison, tmp_path):
    asked = []
    known = Known(tmp_path / "known.json")
    acr, isim = (
        next(each.job for each in _jobs(comparison, tmp_path) if each.variant == name) for name in ("acr_i", "isim_i")
    )
    for job in (acr, acr, isim):
        assert known.get(job, "infer_cams", lambda job: asked.append(job) or 0.25) == 0.25
    assert asked == [acr, isim]


def test_finished_stages_of_other_runs_are_linked(tmp_path, monkeypatch):
    store = tmp_path / "other"
    done, open_ = (store / "run" / name for name in ("walk-1", "gcn-2"))
    for folder in (done, open_):
        (folder / "masks").mkdir(parents=True)
        (folder / "masks" / "a.png").write_bytes(b"mask")
    (done / "_MANIFEST.json").write_text("{}")
    (store / "seconds_compare.json").write_text(json.dumps({"walk-1": 3.0, "gcn-2": 5.0}))
    seconds = tmp_path / "seconds_best.json"
    seconds.write_text(json.dumps({"gcn-2": 7.0}))
    stages = [SimpleNamespace(name=n, fingerprint=f, is_streamed=False) for n, f in (("walk", "1"), ("gcn", "2"))]
    statuses = [SimpleNamespace(status=SimpleNamespace(stage=stage, is_complete=False)) for stage in stages]
    monkeypatch.setattr(real_voc_best_reuse, "shared_stages", lambda _: statuses)
    own = tmp_path / "own" / "best"
    jobs = [SimpleNamespace(job=SimpleNamespace(store=LocalStore(own)))]
    own.mkdir(parents=True)
    assert reuse(jobs, [store], seconds) == ["walk-1"]
    assert (own / "walk-1" / "masks" / "a.png").samefile(done / "masks" / "a.png")
    assert [path.name for path in own.iterdir()] == ["walk-1"]
    assert json.loads(seconds.read_text()) == {"walk-1": 3.0, "gcn-2": 7.0}
    assert reuse(jobs, [store], seconds) == []  # it is there


class _Scores:
    def __init__(self, values):
        self._values = values

    def figure(self, name, column):
        del column
        return SimpleNamespace(mean=self._values[name]) if name in self._values else None


def test_the_best_is_chosen_on_the_tuned_half_and_never_by_the_truth_s_threshold(comparison):
    tuned = {"cam_best_threshold": 60.0, "acr_wsgcn_i_crf": 45.0, "cam_wsgcn_i_crf": 44.0}
    other = {"acr_wsgcn_i_crf": 41.0, "cam_wsgcn_i_crf": 42.0}
    values = mious(comparison, {"all": _Scores(other), "tuned_half": _Scores(tuned), "other_half": _Scores(other)})
    assert best_of(values["tuned_half"]) == "acr_wsgcn_i_crf"
    found = choice(comparison, values, {"acr_wsgcn_i_crf": 60.0}, {})
    assert found["best_of_tuned_half"]["miou"] == {"all": 41.0, "tuned_half": 45.0, "other_half": 41.0}
    assert found["best_of_tuned_half"]["seconds"] == 60.0
    assert found["best_of_other_half"]["method"] == "cam_wsgcn_i_crf"


def test_margins_are_over_the_own_combination_of_each_paper(comparison):
    assert set(RIVALS.values()) <= set(comparison.methods)
    chosen = with_margins(comparison, "isim_wsgcn_p_crf")
    assert Comparison.model_validate(chosen.model_dump()) == chosen  # names of margins, plots and examples are known
    assert {"best_minus_wsgcn_i_own", "best_minus_acr_own", "best_minus_groupwise_own", "best_minus_isim_own"} <= set(
        chosen.margins
    )
    assert {margin.aim for margin in chosen.margins.values()} == {0.0}
    assert with_margins(comparison, None) is comparison


class _Watch:
    def __init__(self, unknown):
        self._unknown = unknown

    def seconds(self, stages):
        return {stage.name: 10.0 for stage in stages if stage.name not in self._unknown}


def test_time_and_cost_are_of_all_stages_that_a_method_needs(comparison, tmp_path):
    jobs = [each for each in _jobs(comparison, tmp_path) if each.variant == "cam_i"]
    seconds = total_seconds(comparison, jobs, _Watch({"gcn_masks"}))
    assert seconds["cam_best_threshold"] == 20.0  # classifier, CAMs
    assert seconds["cam_alone"] == seconds["cam_alone_crf"] == 30.0  # and masks; read_cams is streamed
    assert seconds["cam_irn_walk"] == 50.0
    assert "cam_wsgcn_i" not in seconds
    assert costs({"x": 3600.0}, 0.05) == {"x": round(0.05 * os.cpu_count(), 4)}


def test_masks_before_the_crf_are_a_folder_of_files(comparison, tmp_path):
    [job] = [each.job for each in _jobs(comparison, tmp_path) if (each.variant, each.seed) == ("cam_i", 0)]
    stage = job.plan.stage("walk_masks")
    folder = tmp_path / "run" / f"walk_masks-{stage.fingerprint}"
    before = Method(title="", variant="cam_i", step="walk_masks/before_crf")
    assert masks_of(before, job) is None
    folder.mkdir(parents=True)
    manifest = {"format": 1, "stage": "walk_masks", "fingerprint": stage.fingerprint, "kind": "masks"}
    rest = {"plan_sha256": "", "num_items": 0, "failed_item_ids": [], "outputs": []}
    (folder / "_MANIFEST.json").write_text(json.dumps(manifest | rest))
    assert masks_of(before, job) == folder / "masks_before_crf"
    assert masks_of(before.model_copy(update={"step": "walk_masks"}), job) == folder


def test_margins_of_students_are_on_the_other_half():
    found = {
        "student.miou.other_half.isim_wsgcn_p_crf": 33.0,
        "student.miou.val.isim_wsgcn_p_crf": 34.0,
        "student.miou.other_half.cam_wsgcn_i_crf": 32.0,
        "student.miou.val.cam_wsgcn_i_crf": 35.0,
    }
    margins = student_margins(found, "isim_wsgcn_p_crf")
    own = margins["student_best_minus_wsgcn_i_own"]
    assert own == {"value": 1.0, "aim": 0.0, "other_half": 1.0, "val": -1.0}
    assert margins["student_best_minus_acr_own"]["value"] is None
