"""Finished stages of other benchmarks, linked into this run's folder: a fingerprint says what, not whose, they are."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.comparison.sharing import shared_stages
from wsss_jobs.storage.manifest import MANIFEST_KEY


def reuse(jobs: Sequence[VariantJob], stores: Sequence[Path], seconds_path: Path) -> list[str]:
    """Links what any run in these stores has finished; returns the folders' names.

    Args:
        seconds_path: Gets the times that the benchmarks of these stores have kept, where it has none.
    """
    run = Path(jobs[0].job.store.uri)
    runs = [each for store in stores for each in sorted(store.resolve().iterdir()) if each.is_dir() and each != run]
    missing = [each.status.stage for each in shared_stages(jobs) if not each.status.is_complete]
    linked = []
    for name in (f"{stage.name}-{stage.fingerprint}" for stage in missing if not stage.is_streamed):
        source = next((other / name for other in runs if (other / name / MANIFEST_KEY).is_file()), None)
        if source is not None and not (run / name).exists():
            _link_folder(source, run / name)
            linked.append(name)
    _take_seconds(stores, seconds_path)
    return linked


def _link_folder(source: Path, target: Path) -> None:
    """Links the files of a folder: the store replaces files and never writes into one, so the source stays as it is."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part, copy_function=_link)
    part.rename(target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _take_seconds(stores: Sequence[Path], path: Path) -> None:
    known: dict[str, float] = {}
    for other in sorted(each for store in stores for each in store.glob("seconds*.json")):
        with contextlib.suppress(json.JSONDecodeError):  # one that is being written
            known |= json.loads(other.read_text())
    own = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(known | own))
