"""`wsss verify --repair` on a finished job: what was deleted, torn or added by others is found, and made as it was."""

import shutil

import pytest
from small_job import digests
from typer.testing import CliRunner

from wsss_jobs.cli.main import app

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

    found = verify(recipe, *settings)
    assert found.exit_code == 1, found.output
    for kind, path in [
        ("missing", masks[0]),
        ("torn", masks[1]),
        ("torn", masks[2]),
        ("foreign", foreign),
        ("torn", cams),
    ]:
        assert f"{kind}: {path.relative_to(run)}" in found.output, found.output

    repaired = verify(recipe, "--repair", *settings)
    assert "3 torn objects deleted" in repaired.output
    again = wsss("run", recipe, "--no-report", *settings)
    assert again.returncode == 0, again.stderr[-3000:]
    assert foreign.exists(), "what others have put there is theirs to delete"
    foreign.unlink()
    assert digests(run, *PATTERNS) == expected
    last = verify(recipe, *settings)
    assert last.exit_code == 0, last.output


def verify(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])
