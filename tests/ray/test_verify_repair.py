"""`wsss verify --repair` on a finished job: what was deleted, torn or added by others is found, and made as it was."""

import shutil

import pytest
from small_job import digests

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PATTERNS = ("infer_cams-*/part-*.parquet", "*_masks-*/*masks*/*.png", "*/_MANIFEST.json")


def test_a_damaged_run_is_reported_repaired_and_the_same_again(finished_job, wsss, tmp_path):
    recipe, finished, done = finished_job
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / finished.name
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("evaluation", "report"))
    expected = digests(finished, *PATTERNS)
    settings = ("--set", f"store.uri={tmp_path}")
    masks = sorted(run.glob("gcn_masks-*/masks/*.png"))
    cams = next(run.glob("infer_cams-*/part-*.parquet"))
    masks[0].unlink()
    masks[1].write_bytes(masks[1].read_bytes()[:50])
    masks[2].write_bytes(masks[3].read_bytes())
    foreign = masks[0].with_name("foreign.png")
    foreign.write_bytes(masks[4].read_bytes())
    torn = bytearray(cams.read_bytes())
    torn[len(torn) // 2] ^= 1
    cams.write_bytes(torn)

    found = wsss("verify", recipe, *settings)
    assert found.returncode == 1, found.stdout + found.stderr
    for name in (masks[0].name, masks[1].name, masks[2].name, foreign.name, cams.name):
        assert name in found.stdout, found.stdout
    for kind in ("missing", "torn", "foreign"):
        assert kind in found.stdout

    repaired = wsss("verify", recipe, "--repair", *settings)
    assert repaired.returncode == 1, repaired.stdout + repaired.stderr
    again = wsss("run", recipe, "--no-report", *settings)
    assert again.returncode == 0, again.stderr[-3000:]
    after = wsss("verify", recipe, *settings)
    assert foreign.exists(), "what others have put there is theirs to delete"
    foreign.unlink()
    assert digests(run, *PATTERNS) == expected
    assert "foreign" in after.stdout
    last = wsss("verify", recipe, *settings)
    assert last.returncode == 0, last.stdout
