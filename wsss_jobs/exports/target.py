"""The folder that an export goes to: empty before, marked while it is filled, and marked when it is whole."""

import json
from collections.abc import Mapping
from typing import Any

from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore

FINISHED_KEY = "_EXPORT.json"  # written last
UNFINISHED_KEY = "_EXPORT_UNFINISHED.json"  # written first


def begin_export(target: ObjectStore, identity: Mapping[str, Any]) -> None:
    """Mark the folder as being filled. An interrupted export of the same goes on in its folder, over the same names.

    Args:
        target: Where to.
        identity: What makes two exports the same.

    Raises:
        ConfigError: The folder holds something else.
    """
    if target.exists(FINISHED_KEY):
        raise ConfigError(f"--to {target.uri}: holds a finished export; choose an empty folder, or delete that one")
    try:
        begun = json.loads(target.get(UNFINISHED_KEY))
    except ObjectNotFoundError:
        if (found := next(iter(target.list()), None)) is not None:
            raise ConfigError(f"--to {target.uri}: is not empty ({found.key}); choose an empty folder") from None
    else:
        if begun != identity:
            raise ConfigError(f"--to {target.uri}: holds an unfinished export of something else; delete it first")
    target.put(UNFINISHED_KEY, _text(identity))


def finish_export(target: ObjectStore, identity: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Mark the folder as whole."""
    target.put(FINISHED_KEY, _text({**identity, **outcome}))
    target.delete([UNFINISHED_KEY])


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"
