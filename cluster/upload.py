"""What `ray job submit --working-dir` would send to the cluster, measured before it is sent."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE
from ray._private.runtime_env import packaging  # Ray has no public function that lists what it would upload

# Beside what .gitignore and .rayignore name. Anchored ones are the usual places of data and results in a project.
DEFAULT_EXCLUDES = (
    ".git", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache",
    "/data", "/runs", "/results",
)  # fmt: skip
MAX_UPLOAD_BYTES: int = packaging.GCS_STORAGE_MAX_SIZE

_silent = logging.getLogger("cluster.upload")


@dataclass(frozen=True)
class Upload:
    """A folder as it would be uploaded.

    Attributes:
        folder: The working directory.
        files: Paths below it, in POSIX form, with sizes in bytes.
    """

    folder: Path
    files: dict[str, int]

    @property
    def num_bytes(self) -> int:
        """Size of all files before compression."""
        return sum(self.files.values())

    def largest(self, count: int = 3) -> list[tuple[str, int]]:
        """The entries at the top of the folder that weigh most: (name, bytes), the heaviest first."""
        weights: Counter[str] = Counter()
        for path, size in self.files.items():
            top, separator, _ = path.partition("/")
            weights[top + separator] += size
        return weights.most_common(count)

    def holds(self, path: Path) -> bool:
        """Whether a file is uploaded."""
        try:
            return path.resolve().relative_to(self.folder.resolve()).as_posix() in self.files
        except ValueError:
            return False


def measure_upload(folder: Path, excludes: Sequence[str] = DEFAULT_EXCLUDES) -> Upload:
    """What Ray would upload of a folder, by its own rules: `excludes`, `.gitignore` and `.rayignore` at every level.

    Args:
        folder: The working directory.
        excludes: Patterns in the form of `.gitignore`, relative to `folder`.
    """
    root, files = folder.absolute(), {}

    def note(path: Path) -> None:
        if path.is_file():
            files[path.relative_to(root).as_posix()] = path.stat().st_size

    packaging._dir_travel(  # noqa: SLF001
        root,
        [packaging._get_excludes(root, list(excludes))],  # noqa: SLF001
        note,
        include_gitignore=os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1",
        logger=_silent,
    )
    return Upload(folder, files)
