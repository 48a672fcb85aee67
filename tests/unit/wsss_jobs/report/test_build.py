import base64
import hashlib
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.report.build import build_report
from wsss_jobs.storage.object_store import ObjectStore
from wsss_jobs.storage.uris import open_store, read_uri

MakeReport = Callable[..., tuple[ObjectStore, str]]
HOSTILE = "x<img src=q onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """Elements with their attributes, and the text outside style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in {"style", "script"} else ""

    def handle_data(self, data):
        if not self._inside and data.strip():
            self.text.append(data.strip())

    def handle_endtag(self, tag):
        self._inside = ""

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.elements if name in (attributes.get("class") or "").split()]

    @property
    def cards(self) -> list[str | None]:
        return [attributes["data-name"] for attributes in self.of_class("card")]

    @property
    def links(self) -> set[str]:
        names = ("src", "href", "srcset", "poster", "data", "action")
        found = {attributes[name] for _, attributes in self.elements for name in names if attributes.get(name)}
        return {link for link in found if link and not link.startswith(("#", "data:,"))}


def files(folder: ObjectStore) -> dict[str, bytes]:
    return {info.key: folder.get(info.key) for info in folder.list()}


def test_every_link_is_a_picture_and_every_picture_is_linked(make_report: MakeReport, run_of):
    folder, html = make_report(run_of())
    stored = {info.key for info in folder.list()}
    assert Page(html).links == stored - {"index.html"}
    assert len(stored) > 10
    assert all(re.fullmatch(r"pictures/[0-9a-f]{20}\.webp", link) for link in Page(html).links)


def test_the_address_of_the_page_is_returned(make_job: Callable[..., PreparedJob], run_of):
    job = make_job(run_of())
    assert read_uri(build_report(job, [])).startswith(b"<!doctype html>")


def test_equal_runs_give_equal_bytes(make_job: Callable[..., PreparedJob], run_of):
    job = make_job(run_of(failed={"infer_cams": ["b"]}))
    evaluations = evaluate_run(job.plan, job.dataset, job.store)
    folder = job.store.child("report/tiny")
    build_report(job, evaluations)
    first = files(folder)
    folder.delete(first)
    build_report(job, evaluations)
    assert files(folder) == first


def test_another_report_replaces_the_earlier_one(make_job: Callable[..., PreparedJob], run_of):
    job = make_job(run_of())
    evaluations = evaluate_run(job.plan, job.dataset, job.store)
    folder = job.store.child("report/tiny")
    build_report(job, evaluations)
    num_before = len(files(folder))
    build_report(job, evaluations, max_images=1)
    html = folder.get("index.html").decode()
    assert Page(html).cards == ["a"]
    assert {info.key for info in folder.list()} == Page(html).links | {"index.html"}
    assert len(files(folder)) < num_before


def test_names_of_users_stay_text(make_report: MakeReport, run_of):
    classes = ["<b>cat</b>", '" onload="alert(2)']
    run = run_of(
        keys=[HOSTILE, "ok", "ünï 日本"],
        class_names=classes,
        description="<script>alert(3)</script>",
        failed={"infer_cams": [HOSTILE]},
    )
    _, html = make_report(run)
    page = Page(html)
    assert HOSTILE in page.cards
    for text in (HOSTILE, "ünï 日本", *classes, "<script>alert(3)</script>"):
        assert text in page.text
    assert any("<b>3</b>" in text for text in page.text)
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    handlers = {name for _, attributes in page.elements for name in attributes if name.startswith("on")}
    assert not handlers
    assert all(attributes["src"].startswith("pictures/") for tag, attributes in page.elements if tag == "img")


def test_text_that_is_no_utf8_is_written_in_a_way_that_is(make_report: MakeReport, run_of):
    folder, _ = make_report(run_of(keys=["a"], description="folder " + os.fsdecode(b"latin-\xe9")))
    assert rb"folder latin-\udce9" in folder.get("index.html")


def test_the_page_runs_its_own_script_and_nothing_else(make_report: MakeReport, run_of):
    _, html = make_report(run_of())
    [script] = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for _, a in Page(html).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"(https?:)?//\w", html.replace("s3://", ""))


def test_an_item_without_a_record_has_an_empty_panel_that_says_why(make_report: MakeReport, run_of):
    run = run_of(failed={"gcn_masks": ["b"]}, missing={"label_partially": ["a"]}, with_truth=False)
    folder, html = make_report(run)
    notes = re.findall(r'class="missing">([^<]*)<', html)
    assert notes.count("failed in gcn_masks: nan_cam") == 2  # before and after the CRF
    assert notes.count("none") == 1
    assert {info.key for info in folder.list()} == Page(html).links | {"index.html"}


def test_without_ground_truth_the_page_says_so_and_shows_what_is_known(make_report: MakeReport, run_of):
    _, html = make_report(run_of(with_truth=False, confidence={"a": 0.5, "b": 0.6, "c": 0.7}))
    page = Page(html)
    assert any("no ground truth" in text for text in page.text)
    assert "Ground truth" not in re.findall(r'class="caption"><span>([^<]*)<', html)
    assert not page.of_class("matrix")
    assert "mean 60.0 %" in page.text
    assert page.of_class("shares")


def test_scores_are_those_of_the_evaluation(make_job: Callable[..., PreparedJob], run_of):
    job = make_job(run_of())
    evaluations = evaluate_run(job.plan, job.dataset, job.store)
    build_report(job, evaluations)
    page = Page(job.store.get("report/tiny/index.html").decode())
    for evaluation in evaluations:
        assert f"{100 * evaluation.scores.miou:.1f}" in page.text
        assert f"{100 * evaluation.images[0].miou:.1f}" in page.text
    assert page.of_class("h20")  # the CAMs of this run are all right


@pytest.mark.parametrize(
    ("stages_done", "shown"),
    [
        (0, ["Image", "Ground truth"]),
        (2, ["Image", "CAM", "Ground truth"]),
        (4, ["Image", "CAM", "Affinity label", "Ground truth"]),
        (6, ["Image", "CAM", "Affinity label", "Random walk", "Ground truth", "Mistakes"]),
    ],
)
def test_what_is_not_finished_is_left_out(make_report: MakeReport, run_of, stages_done: int, shown: list[str]):
    folder, html = make_report(run_of(keys=["a"], stages_done=stages_done))
    page = Page(html)
    assert re.findall(r'class="caption"><span>([^<]*)<', html) == shown
    assert page.cards == ["a"]
    assert {info.key for info in folder.list()} == page.links | {"index.html"}


def test_cards_carry_what_the_gallery_is_sorted_and_filtered_by(make_report: MakeReport, run_of):
    _, html = make_report(run_of(shift_px={"a": 1, "b": 9, "c": 4}))
    cards = Page(html).of_class("card")
    assert [card["data-name"] for card in cards] == ["b", "c", "a"]
    assert [card["data-rank"] for card in cards] == ["1", "2", "3"]
    assert [card["data-classes"] for card in cards] == ["2", "1", "1"]
    assert all(float(card["data-gain"]) > 0 for card in cards)


@pytest.mark.parametrize(("num_images", "num_classes"), [(1, 1), (3, 80)])
def test_any_number_of_classes(make_report: MakeReport, run_of, num_images: int, num_classes: int):
    names = [f"class {number}" for number in range(num_classes)]
    _, html = make_report(run_of(keys=[f"i{n}" for n in range(num_images)], class_names=names))
    page = Page(html)
    assert len(page.cards) == num_images
    assert all(name in page.text for name in names)


def test_no_pictures_can_be_asked_for(make_report: MakeReport, run_of):
    folder, _ = make_report(run_of(), max_images=0)
    assert [info.key for info in folder.list()] == ["index.html"]


def test_an_image_that_is_gone_leaves_its_overlays(make_job: Callable[..., PreparedJob], run_of):
    job = make_job(run_of())
    Path(job.dataset.items[0].uri).unlink()
    build_report(job, [])
    page = Page(job.store.get("report/tiny/index.html").decode())
    assert len(page.cards) == 3
    assert any("its image is gone" in text for text in page.text)


def test_a_report_lies_in_s3_as_in_a_folder(make_report: MakeReport, run_of, s3_bucket: str):
    local, _ = make_report(run_of(keys=["a"], stages_done=2))
    remote, html = make_report(run_of(keys=["a"], stages_done=2), store_uri=f"s3://{s3_bucket}/runs")
    assert {info.key for info in remote.list()} == {info.key for info in local.list()}
    assert f"s3://{s3_bucket}/runs/tiny" in html
    assert isinstance(open_store(remote.uri).get("index.html"), bytes)
