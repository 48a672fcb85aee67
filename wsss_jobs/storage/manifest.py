"""The last object that a stage writes: it says that the stage is complete and what it holds."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.item_names import in_one_piece, string_column
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore

MANIFEST_KEY = "_MANIFEST.json"
_FORMAT = 1
_LINES_AT_A_TIME = 1 << 13

StageKind = Literal["masks", "tensors", "artifacts"]


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One object of a complete stage; or, with a key that ends in a slash, the set of all masks of a variant.

    Args:
        key: Below the stage's folder.
        sha256: Of its bytes; of a set of masks, of the lines "<sha256> <key>" in key order.
        num_items: How many items are in it; 0 for an artifact.
    """

    key: str
    sha256: str
    num_items: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a complete stage holds. No times, hosts or attempts: equal work gives equal bytes.

    Args:
        stage: Name of the stage.
        fingerprint: Its fingerprint.
        kind: What it writes.
        plan_sha256: Of the planned items' ids.
        num_items: How many were planned.
        failed_item_ids: Those that have no output, sorted.
        outputs: Its data objects.
    """

    stage: str
    fingerprint: str
    kind: StageKind
    plan_sha256: str
    num_items: int
    failed_item_ids: tuple[str, ...]
    outputs: tuple[OutputFile, ...]


def write_manifest(folder: ObjectStore, manifest: Manifest) -> None:
    """Write the manifest; from here on the stage is complete."""
    text = json.dumps({"format": _FORMAT} | asdict(manifest), indent=1, sort_keys=True)
    folder.put(MANIFEST_KEY, text.encode() + b"\n")


def read_manifest(folder: ObjectStore) -> Manifest | None:
    """The manifest, or None while the stage is not complete.

    Raises:
        StorageError: It is there, but cannot be read by this version.
    """
    try:
        data = folder.get(MANIFEST_KEY)
    except ObjectNotFoundError:
        return None
    try:
        return parse_manifest(data)
    except (ValueError, KeyError, TypeError, StorageError) as error:
        raise StorageError(f"{folder.uri_of(MANIFEST_KEY)}: not a manifest of format {_FORMAT} ({error})") from error


def plan_digest(item_ids: pa.ChunkedArray | Iterable[str]) -> str:
    """A hash of a set of item ids, or of other lines: the SHA-256 of them, sorted and joined by line feeds."""
    lines = item_ids if isinstance(item_ids, pa.ChunkedArray) else string_column(item_ids)
    whole = in_one_piece(lines)
    order = pc.sort_indices(whole)
    digest = hashlib.sha256()
    for first in range(0, len(order), _LINES_AT_A_TIME):
        text = "\n".join(whole.take(order.slice(first, _LINES_AT_A_TIME)).to_pylist())
        digest.update(("\n" if first else "").encode() + text.encode())
    return digest.hexdigest()


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in the bytes of its object.

    Raises:
        ValueError, KeyError, TypeError: It is not one.
        StorageError: It is of a newer format.
    """
    fields: dict[str, Any] = json.loads(data)
    number = fields.pop("format")
    if number != _FORMAT:
        raise StorageError(f"not a manifest of format {_FORMAT} but of {number}; upgrade this installation")
    fields["failed_item_ids"] = tuple(fields["failed_item_ids"])
    fields["outputs"] = tuple(OutputFile(**output) for output in fields["outputs"])
    return Manifest(**fields)
