"""Completing a stage: reconcile, compact, manifest, delete, in this order.

An interruption leaves either no manifest, and everything is done again from objects that are all still there; or a
manifest, and only the deletion goes on.
"""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa

from wsss_jobs.errors import StageError
from wsss_jobs.storage.artifacts import object_sha256
from wsss_jobs.storage.failures import FAILURES_KEY, failure_keys, merge_failures
from wsss_jobs.storage.manifest import (
    MANIFEST_KEY,
    Manifest,
    OutputFile,
    StageKind,
    plan_digest,
    read_manifest,
    write_manifest,
)
from wsss_jobs.storage.mask_facts import MASKS, MASKS_KEY, MaskFacts, facts_from_receipts, facts_of_mask, masks_table
from wsss_jobs.storage.mask_packing import delete_packed_objects, pack_masks, packed_files
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.parts import next_part_number
from wsss_jobs.storage.receipts import RECEIPTS_KEY, merge_receipts, receipt_keys
from wsss_jobs.storage.tables import write_table
from wsss_jobs.storage.tensor_parts import PART_PREFIX, find_part_rows, write_parts

if TYPE_CHECKING:
    from wsss_jobs.storage.stage_outputs import ItemRef, StageOutputs

_NUM_READ_THREADS = 16
_NUM_NAMED = 5
_ITEMS_PREFIX = "items/"
WORKING_PREFIX = "working/"  # a training stage's own, such as the checkpoints between epochs


def finalise(outputs: "StageOutputs", items: Collection["ItemRef"], kind: StageKind, *, pack: bool = False) -> Manifest:
    """See `StageOutputs.finalise`."""
    folder = outputs.folder
    plan_sha256 = plan_digest(item.item_id for item in items)
    manifest = read_manifest(folder)
    if manifest is not None and manifest.plan_sha256 != plan_sha256:
        folder.delete([MANIFEST_KEY])  # complete, but for a plan without the items that have been redone since
        manifest = None
    if manifest is None:
        manifest = _complete(outputs, items, kind, plan_sha256, pack=pack)
    for prefix in (_ITEMS_PREFIX, WORKING_PREFIX):
        folder.delete([info.key for info in folder.list(prefix)])
    if kind == "masks":
        delete_packed_objects(outputs)
    folder.delete(receipt_keys(folder))
    folder.delete(failure_keys(folder))
    return manifest


def _complete(
    outputs: "StageOutputs", items: Collection["ItemRef"], kind: StageKind, plan_sha256: str, *, pack: bool
) -> Manifest:
    try:
        done = _reconcile(outputs, items, kind)
        if pack and kind == "masks":
            pack_masks(outputs, done)
        manifest = _compact(outputs, done, kind, plan_sha256, len(items))
    except ObjectNotFoundError:
        # Another driver of the same run may have completed the stage meanwhile and deleted what was being read.
        theirs = read_manifest(outputs.folder)
        if theirs is None or theirs.plan_sha256 != plan_sha256:
            raise
        return theirs
    write_manifest(outputs.folder, manifest)
    return manifest


def _compact(
    outputs: "StageOutputs", done: list["ItemRef"], kind: StageKind, plan_sha256: str, num_items: int
) -> Manifest:
    receipts = merge_receipts(outputs.folder)
    files = _COMPACT[kind](outputs, done, receipts)
    failed = merge_failures(outputs.folder, {item.item_id for item in done})
    failed_ids = tuple(failure.item_id for failure in failed)
    return Manifest(outputs.stage_name, outputs.fingerprint, kind, plan_sha256, num_items, failed_ids, tuple(files))


def _reconcile(outputs: "StageOutputs", items: Collection["ItemRef"], kind: StageKind) -> list["ItemRef"]:
    if kind == "artifacts":
        return []
    done_ids = outputs.done_tensor_ids() if kind == "tensors" else outputs.done_mask_ids(items)
    failed_ids = outputs.failed_item_ids()
    missing = [item.source_key for item in items if item.item_id not in done_ids | failed_ids]
    if missing:
        names = ", ".join(sorted(missing)[:_NUM_NAMED])
        message = f"{outputs.folder.uri}: {len(missing)} of {len(items)} items are neither done nor failed"
        raise StageError(f"{message} ({names}{', ...' if len(missing) > _NUM_NAMED else ''}); run the stage again")
    return sorted((item for item in items if item.item_id in done_ids), key=lambda item: item.item_id)


def _compact_tensors(outputs: "StageOutputs", done: list["ItemRef"], _receipts: pa.Table) -> list[OutputFile]:
    folder = outputs.folder
    # Small objects first: if another driver completes the stage between the two listings, its parts are seen. And the
    # next part's number is that of the parts which were looked into, so that two drivers write the same one.
    small = {info.key: info for info in folder.list(_ITEMS_PREFIX)}
    in_parts = find_part_rows(folder)
    keys = [f"{_ITEMS_PREFIX}{item.item_id}.parquet" for item in done if item.item_id not in in_parts]
    first_number = next_part_number(PART_PREFIX, (row.part.key for row in in_parts.values()))
    write_parts(folder, [small[key] for key in keys], first_number)
    num_items: dict[str, int] = {}
    for row in find_part_rows(folder).values():
        num_items[row.part.key] = num_items.get(row.part.key, 0) + 1
    return [OutputFile(key, object_sha256(folder, key), num_items[key]) for key in sorted(num_items)]


def _compact_masks(outputs: "StageOutputs", done: list["ItemRef"], receipts: pa.Table) -> list[OutputFile]:
    known = facts_from_receipts(receipts)
    rows: list[tuple[str, str, MaskFacts]] = []
    files = []
    for variant in outputs.mask_variants:
        keys = [outputs.mask_key(item, variant) for item in done]
        facts = _facts_of(outputs, variant, keys, known)
        rows += [(item.item_id, item.source_key, fact) for item, fact in zip(done, facts, strict=True)]
        files.append(OutputFile(f"{variant}/", _digest_of(facts), len(facts)))
    table = masks_table(sorted(rows, key=lambda row: row[0]), receipts)
    write_table(outputs.folder, MASKS_KEY, MASKS, table)
    return files + packed_files(outputs)


def _facts_of(
    outputs: "StageOutputs", variant: str, keys: list[str], known: Mapping[str, MaskFacts]
) -> list[MaskFacts]:
    # Receipts are flushed now and then: what was committed after the last flush before a kill is read again.
    def facts(key: str) -> MaskFacts:
        return known.get(key) or facts_of_mask(variant, key, outputs.mask_data(key, variant))

    with ThreadPoolExecutor(_NUM_READ_THREADS) as pool:
        return list(pool.map(facts, keys))


def _digest_of(facts: list[MaskFacts]) -> str:
    return plan_digest(f"{fact.key} {fact.sha256}" for fact in facts)


def _list_artifacts(outputs: "StageOutputs", _done: list["ItemRef"], _receipts: pa.Table) -> list[OutputFile]:
    ledger = ("receipts/", "failed/", WORKING_PREFIX, RECEIPTS_KEY, FAILURES_KEY)
    keys = [info.key for info in outputs.folder.list() if not info.key.startswith(ledger)]
    files = [OutputFile(key, object_sha256(outputs.folder, key), 0) for key in keys]
    if not files:
        raise StageError(f"{outputs.folder.uri}: the stage left no artifact; run it again")
    return files


_COMPACT = {"tensors": _compact_tensors, "masks": _compact_masks, "artifacts": _list_artifacts}
