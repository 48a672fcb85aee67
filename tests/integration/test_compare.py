"""`wsss compare` on the small job: what is done is found, what differs is made, what is missing is said."""

import io
import shutil

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from small_job import digests, small_recipe, write_recipe

pytestmark = [pytest.mark.ray, pytest.mark.slow]

COMPARISON = {
    "name": "losses",
    "run": "small",
    "variants": {
        "full": {"recipe": "small.yaml"},
        "fg_bg": {
            "recipe": "small.yaml",
            "set": ["stages.propagate_gcn.gcn.entropy_weight=0", "stages.propagate_gcn.gcn.laplacian_weight=0"],
        },
    },
    "methods": {
        "walk": {"title": "Walk", "variant": "full", "step": "walk_masks"},
        "full": {"title": "GCN", "variant": "full", "step": "gcn_masks"},
        "fg_bg": {"title": "GCN, fg + bg", "variant": "fg_bg", "step": "gcn_masks"},
    },
    "tables": {
        "one": {
            "title": "Table 1",
            "source": "A paper",
            "rows": [{"method": "GCN", "published": 68.0, "ours": "full"}, {"method": "SEAM", "published": 63.6}],
        }
    },
    "margins": {"gcn_minus_walk": {"above": "full", "below": "walk", "aim": 1.5}},
}


@pytest.fixture
def compared(finished_job, images, tmp_path):
    """A copy of the small job, finished with seed 0, and a comparison in its run folder: (file, run folder)."""
    _, run, _ = finished_job
    shutil.copytree(run, tmp_path / "runs" / "small")
    write_recipe(tmp_path / "small.yaml", small_recipe(images, tmp_path / "runs"))
    path = tmp_path / "losses.yaml"
    path.write_text(yaml.safe_dump(COMPARISON, sort_keys=False))
    return path, tmp_path / "runs" / "small"


def test_what_recipes_share_is_done_once_and_tables_are_written(wsss, compared):
    comparison, run = compared
    before = digests(run, "*/masks/**/*.png", "*/_MANIFEST.json", "*/checkpoint/*")
    shown = wsss("compare", comparison, "--dry-run")
    assert shown.returncode == 0, shown.stderr[-3000:]
    assert "2 jobs with 18 stages, 11 of them different" in shown.stdout

    done = wsss("compare", comparison)
    assert done.returncode == 0, done.stderr[-3000:]
    after = digests(run, "*/masks/**/*.png", "*/_MANIFEST.json", "*/checkpoint/*")
    assert {name: after[name] for name in before} == before
    [new] = {name.partition("/")[0] for name in set(after) - set(before)}
    assert new.startswith("gcn_masks-")
    assert "Table 1" in done.stdout
    assert "68.0" in done.stdout

    folder = run / "comparison" / "losses"
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    assert [row["method"] for row in rows] == ["walk", "full", "fg_bg"]
    assert all(0 < row["miou"] < 1 for row in rows)
    assert "| SEAM | 63.6 | – |" in (folder / "comparison.md").read_text()
    assert (folder / "miou.svg").read_text().startswith("<svg")
    Image.open(io.BytesIO((folder / "examples.png").read_bytes())).verify()


def test_wrong_comparisons_are_bad_input(wsss, compared, tmp_path):
    comparison, _ = compared
    for arguments, message in (
        (["nothing.yaml"], "no such file"),
        ([comparison, "--seeds", "1,x"], "write different numbers"),
        ([comparison, "--set", "stages.refine.crf=null"], "no variant has the stage 'refine'"),
    ):
        done = wsss("compare", *arguments)
        assert done.returncode == 2, done.stderr[-3000:]
        assert message in done.stderr
