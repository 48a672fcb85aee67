"""Completing a stage: reconcile, compact, manifest, delete, in this order.

An interruption leaves either no manifest, and everything is done again from objects that are all still there; or a
manifest, and only the deletion goes on.
"""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from wsss_jobs.errors import StageError
from wsss_jobs.storage.artifacts import object_sha256
from wsss_jobs.storage.failures import FAILURES_KEY, failure_keys, merge_failures
from wsss_jobs.storage.item_names import ItemNames, ItemRef, is_among
from wsss_jobs.storage.manifest import (
    MANIFEST_KEY,
    Manifest,
    OutputFile,
    StageKind,
    plan_digest,
    read_manifest,
    write_manifest,
)
from wsss_jobs.storage.mask_compaction import compact_masks
from wsss_jobs.storage.mask_packing import delete_packed_objects, pack_masks
from wsss_jobs.storage.merged_receipts import MergedReceipts, merged_receipts
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.parts import next_part_number
from wsss_jobs.storage.receipts import RECEIPTS_KEY, receipt_keys
from wsss_jobs.storage.tensor_parts import PART_PREFIX, find_part_rows, write_parts

if TYPE_CHECKING:
    from wsss_jobs.storage.stage_outputs import StageOutputs

_NUM_NAMED = 5
_ITEMS_A_RANGE = 1 << 14
_ITEMS_PREFIX = "items/"
WORKING_PREFIX = "working/"  # a training stage's own, such as the checkpoints between epochs


def finalise(outputs: "StageOutputs", items: Collection[ItemRef], kind: StageKind, *, pack: bool = False) -> Manifest:
    """See `StageOutputs.finalise`."""
    folder = outputs.folder
    planned = ItemNames.of(items)
    plan_sha256 = plan_digest(planned.column("item_id"))
    manifest = read_manifest(folder)
    if manifest is not None and manifest.plan_sha256 != plan_sha256:
        folder.delete([MANIFEST_KEY])  # complete, but for a plan without the items that have been redone since
        manifest = None
    if manifest is None:
        manifest = _complete(outputs, planned, kind, plan_sha256, pack=pack)
    for prefix in (_ITEMS_PREFIX, WORKING_PREFIX):
        folder.delete([info.key for info in folder.list(prefix)])
    if kind == "masks":
        delete_packed_objects(outputs)
    folder.delete(receipt_keys(folder))
    folder.delete(failure_keys(folder))
    return manifest


def _complete(
    outputs: "StageOutputs", planned: ItemNames, kind: StageKind, plan_sha256: str, *, pack: bool
) -> Manifest:
    try:
        done = _reconcile(outputs, planned, kind)
        if pack and kind == "masks":
            pack_masks(outputs, list(done))
        manifest = _compact(outputs, done, kind, plan_sha256, len(planned))
    except ObjectNotFoundError:
        # Another driver of the same run may have completed the stage meanwhile and deleted what was being read.
        theirs = read_manifest(outputs.folder)
        if theirs is None or theirs.plan_sha256 != plan_sha256:
            raise
        return theirs
    write_manifest(outputs.folder, manifest)
    return manifest


def _compact(outputs: "StageOutputs", done: ItemNames, kind: StageKind, plan_sha256: str, num_items: int) -> Manifest:
    ranges = _ranges(done)
    splitters = [each.column("item_id")[0].as_py() for each in ranges[1:]]
    with merged_receipts(outputs.folder, splitters) as receipts:
        files = _COMPACT[kind](outputs, ranges, receipts)
    failed = merge_failures(outputs.folder, _done_after_all(outputs, done))
    failed_ids = tuple(failure.item_id for failure in failed)
    return Manifest(outputs.stage_name, outputs.fingerprint, kind, plan_sha256, num_items, failed_ids, tuple(files))


def _reconcile(outputs: "StageOutputs", planned: ItemNames, kind: StageKind) -> ItemNames:
    if kind == "artifacts":
        return planned[:0]
    is_done = outputs.done_tensors(planned) if kind == "tensors" else outputs.done_masks(planned)
    is_missing = ~(is_done | is_among(planned.column("item_id"), outputs.failed_item_ids()))
    if is_missing.any():
        missing = planned.where(is_missing).column("source_key").to_pylist()
        names = ", ".join(sorted(missing)[:_NUM_NAMED])
        message = f"{outputs.folder.uri}: {len(missing)} of {len(planned)} items are neither done nor failed"
        raise StageError(f"{message} ({names}{', ...' if len(missing) > _NUM_NAMED else ''}); run the stage again")
    return planned.where(is_done).by_id()


def _ranges(done: ItemNames) -> list[ItemNames]:
    """Returns the items, which are sorted, in pieces that fit into memory with their receipts; one at least."""
    return [done[first : first + _ITEMS_A_RANGE] for first in range(0, max(len(done), 1), _ITEMS_A_RANGE)]


def _done_after_all(outputs: "StageOutputs", done: ItemNames) -> set[str]:
    """Returns the ids of the items that have failed once and are done."""
    failed_before = outputs.failed_item_ids()
    return set(done.where(is_among(done.column("item_id"), failed_before)).column("item_id").to_pylist())


def _compact_tensors(
    outputs: "StageOutputs", ranges: Sequence[ItemNames], _receipts: MergedReceipts
) -> list[OutputFile]:
    folder = outputs.folder
    # Small objects first: if another driver completes the stage between the two listings, its parts are seen. And the
    # next part's number is that of the parts which were looked into, so that two drivers write the same one.
    small = {info.key: info for info in folder.list(_ITEMS_PREFIX)}
    in_parts = find_part_rows(folder)
    done = chain.from_iterable(ranges)
    keys = [f"{_ITEMS_PREFIX}{item.item_id}.parquet" for item in done if item.item_id not in in_parts]
    first_number = next_part_number(PART_PREFIX, (row.part.key for row in in_parts.values()))
    write_parts(folder, [small[key] for key in keys], first_number)
    num_items: dict[str, int] = {}
    for row in find_part_rows(folder).values():
        num_items[row.part.key] = num_items.get(row.part.key, 0) + 1
    return [OutputFile(key, object_sha256(folder, key), num_items[key]) for key in sorted(num_items)]


def _list_artifacts(
    outputs: "StageOutputs", _ranges: Sequence[ItemNames], _receipts: MergedReceipts
) -> list[OutputFile]:
    ledger = ("receipts/", "failed/", WORKING_PREFIX, RECEIPTS_KEY, FAILURES_KEY)
    keys = [info.key for info in outputs.folder.list() if not info.key.startswith(ledger)]
    files = [OutputFile(key, object_sha256(outputs.folder, key), 0) for key in keys]
    if not files:
        raise StageError(f"{outputs.folder.uri}: the stage left no artifact; run it again")
    return files


_COMPACT = {"tensors": _compact_tensors, "masks": compact_masks, "artifacts": _list_artifacts}
