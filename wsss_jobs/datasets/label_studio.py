"""What Label Studio exports of a project with choices.

Formats "JSON" (tasks with their annotations) and "JSON-MIN" (the answers alone):
https://labelstud.io/guide/export#JSON.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from wsss_jobs.datasets.class_lists import read_text
from wsss_jobs.datasets.config import LabelStudioConfig
from wsss_jobs.datasets.image_folder import ImageFolder
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.tagged_folder import OneFolderReader, sources_of_rows
from wsss_jobs.datasets.tags import TagRow
from wsss_jobs.errors import ConfigError

_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")
_CONTROL_OF_MIN = "choice"


class LabelStudioReader(OneFolderReader[LabelStudioConfig]):
    """Reads what a `LabelStudioConfig` names."""

    def sources(self, class_names: tuple[str, ...]) -> list[SourceImage]:
        """The images of the tasks. A task that was skipped, or not answered, is unlabelled."""
        config = self._config
        (folder,) = self.folders()
        rows = [self._row(task, number, folder) for number, task in enumerate(self._tasks(), start=1)]
        return sources_of_rows(rows, class_names, folder, config.split, config.masks, config.export, "task")

    def _tasks(self) -> list[Any]:
        uri = self._config.export
        try:
            tasks = json.loads(read_text(uri, "Label Studio export"))
        except json.JSONDecodeError as error:
            raise ConfigError(f"Label Studio export {uri}: not JSON ({error}); export as JSON or JSON-MIN") from error
        if not isinstance(tasks, list) or not tasks:
            raise ConfigError(f"Label Studio export {uri}: holds no list of tasks; export as JSON or JSON-MIN")
        return tasks

    def _row(self, task: Any, number: int, folder: ImageFolder) -> TagRow:
        where = f"Label Studio export {self._config.export}, task {number}"
        if not isinstance(task, dict):
            raise ConfigError(f"{where}: is no object; export as JSON or JSON-MIN")
        is_min = "annotations" not in task
        fields = task if is_min else task.get("data")
        address = fields.get(self._config.image_key) if isinstance(fields, dict) else None
        if not isinstance(address, str) or not address:
            raise ConfigError(
                f"{where}: has no text {self._config.image_key!r}; set dataset.image_key to the image's field"
            )
        tags = _min_choices(task, self._config.control) if is_min else _choices(task, self._config.control)
        return TagRow(_name_below(folder, address), tuple(dict.fromkeys(tags)), None, number)


def _choices(task: dict[str, Any], control: str | None) -> Iterator[str]:
    for annotation in task["annotations"] or []:
        if annotation.get("was_cancelled"):
            continue
        for region in annotation.get("result") or []:
            if region.get("type") == "choices" and control in (None, region.get("from_name")):
                yield from map(str, region.get("value", {}).get("choices", []))


def _min_choices(task: dict[str, Any], control: str | None) -> Iterator[str]:
    answer = task.get(control or _CONTROL_OF_MIN, [])
    if isinstance(answer, dict):
        answer = answer.get("choices", [])
    yield from [answer] if isinstance(answer, str) else map(str, answer)


def _name_below(folder: ImageFolder, address: str) -> str:
    """The longest end of the address that names a file of the folder; else the file's bare name."""
    segments = _path_in(address).strip("/").split("/")
    ends = ["/".join(segments[start:]) for start in range(len(segments))]
    bare = _UPLOAD_PREFIX.sub("", segments[-1], count=1)
    return next((name for name in (*ends, bare) if folder.find(name)), bare)


def _path_in(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if separator and scheme not in {"http", "https"}:
        return rest  # of buckets: nothing in a key is escaped
    parts = urlsplit(address)
    local_file = parse_qs(parts.query).get("d")
    return local_file[0] if local_file else unquote(parts.path)
