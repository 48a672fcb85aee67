"""Re-reads all that a stage has stored, finished or not, and says what is missing, torn or foreign."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from wsss_jobs.storage.artifacts import object_sha256
from wsss_jobs.storage.failures import FAILURES, FAILURES_KEY, FAILURES_PREFIX, ItemFailure
from wsss_jobs.storage.findings import Examination, Finding, must_have_sha256
from wsss_jobs.storage.manifest import MANIFEST_KEY, Manifest, StageKind, parse_manifest, plan_digest
from wsss_jobs.storage.mask_check import check_masks, missing_masks
from wsss_jobs.storage.mask_parts import PACKED_PREFIX
from wsss_jobs.storage.receipts import RECEIPTS, RECEIPTS_KEY, RECEIPTS_PREFIX
from wsss_jobs.storage.tables import decode_table
from wsss_jobs.storage.tensor_check import check_tensors
from wsss_jobs.storage.tensor_parts import PART_PREFIX

if TYPE_CHECKING:
    from wsss_jobs.storage.item_names import ItemRef
    from wsss_jobs.storage.stage_outputs import StageOutputs

_WORKING_PREFIX = "working/"
_NUM_NAMED = 5
_CHECKS = {"masks": check_masks, "tensors": check_tensors}


@dataclass(frozen=True, slots=True)
class StageCheck:
    """What re-reading a stage gave.

    Args:
        num_sound: Objects, packed masks and tensor rows that are as they should be.
        num_left: Items that a run still has to do; not a finding.
        is_complete: Whether there is a readable manifest for the items of the plan.
        failed_ids: Items that the stage gave up on.
        findings: In the order of their keys.
    """

    num_sound: int
    num_left: int
    is_complete: bool
    failed_ids: frozenset[str]
    findings: tuple[Finding, ...]


def check_stage(
    outputs: "StageOutputs", items: Collection["ItemRef"], all_items: Collection["ItemRef"], kind: StageKind
) -> StageCheck:
    """What is wrong with a stage.

    Args:
        outputs: The stage.
        items: Those that it has to do: the data set's without what failed in the stages before.
        all_items: The data set's.
        kind: What it writes.

    Raises:
        StorageError: The store cannot be read.
    """
    found = Examination()
    present = [info.key for info in outputs.folder.list()]
    manifest = _read_manifest(outputs, present, found)
    receipts = _read_receipts(outputs, present, found)
    failed = _read_failures(outputs, present, manifest, found)
    if kind == "artifacts":
        _check_artifacts(outputs, manifest, found)
        is_complete, num_left = manifest is not None, 0
    else:
        _CHECKS[kind](outputs, all_items, present, manifest, receipts, found)
        plan = plan_digest(item.item_id for item in items)
        is_complete = manifest is not None and manifest.plan_sha256 == plan
        left = [item for item in items if item.item_id not in found.done_ids | failed]
        num_left = len(left)
        if is_complete:
            found.findings += _missing(outputs, left, present, kind, found)
    found.findings += _foreign(present, kind, manifest, found)
    findings = sorted(found.findings, key=lambda finding: finding.key)
    return StageCheck(found.num_sound, num_left, is_complete, frozenset(failed - found.done_ids), tuple(findings))


def _read_manifest(outputs: "StageOutputs", present: Collection[str], found: Examination) -> Manifest | None:
    read: list[Manifest] = []
    if MANIFEST_KEY in present:
        found.look_at(MANIFEST_KEY, lambda: read.append(parse_manifest(outputs.folder.get(MANIFEST_KEY))))
    return read[0] if read else None


def _read_receipts(outputs: "StageOutputs", present: Collection[str], found: Examination) -> pa.Table:
    tables: list[pa.Table] = []
    for key in present:
        if key == RECEIPTS_KEY or key.startswith(RECEIPTS_PREFIX):
            found.look_at(key, lambda key=key: tables.append(decode_table(outputs.folder.get(key), RECEIPTS, key)))  # type: ignore[misc]
    if not tables:
        return pa.table({"item_id": pa.array([], type=pa.string())})
    bare = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables(bare, promote_options="permissive")


def _read_failures(
    outputs: "StageOutputs", present: Collection[str], manifest: Manifest | None, found: Examination
) -> set[str]:
    failed = set(manifest.failed_item_ids) if manifest else set()

    def read_small(key: str) -> None:
        failed.add(ItemFailure(**json.loads(outputs.folder.get(key))).item_id)

    def read_table() -> None:
        table = decode_table(outputs.folder.get(FAILURES_KEY), FAILURES, FAILURES_KEY)
        failed.update(table.column("item_id").to_pylist())

    if manifest is not None or FAILURES_KEY in present:
        found.look_at(FAILURES_KEY, read_table)
    found.look_at_all((key, lambda key=key: read_small(key)) for key in present if key.startswith(FAILURES_PREFIX))  # type: ignore[misc]
    return failed


def _check_artifacts(outputs: "StageOutputs", manifest: Manifest | None, found: Examination) -> None:
    for output in manifest.outputs if manifest else ():

        def read(key: str = output.key, sha256: str = output.sha256) -> None:
            if not outputs.folder.exists(key):
                outputs.folder.get(key)
            must_have_sha256(sha256, object_sha256(outputs.folder, key))

        found.look_at(output.key, read)


def _missing(
    outputs: "StageOutputs", left: Collection["ItemRef"], present: Collection[str], kind: StageKind, found: Examination
) -> list[Finding]:
    """Findings for items of a complete stage that nothing holds. Those of parts with a finding go without saying."""
    if not left or any(finding.key.startswith((PART_PREFIX, PACKED_PREFIX)) for finding in found.findings):
        return []
    if kind == "masks":
        return missing_masks(outputs, left, present)
    names = ", ".join(sorted(item.source_key for item in left)[:_NUM_NAMED])
    message = f"no part holds {len(left)} items ({names}{', ...' if len(left) > _NUM_NAMED else ''})"
    return [Finding("missing", f"{PART_PREFIX}*.parquet", message)]


def _foreign(present: Collection[str], kind: StageKind, manifest: Manifest | None, found: Examination) -> list[Finding]:
    if kind == "artifacts" and manifest is None:
        return []  # what a training has left so far is its own affair
    message = "no stage writes this here; it is left alone"
    return [
        Finding("foreign", key, message)
        for key in present
        if key not in found.expected_keys and not key.startswith(_WORKING_PREFIX)
    ]


def repair_stage(outputs: "StageOutputs", check: StageCheck) -> int:
    """Deletes what is torn, so that the next run does it again; how many objects. Nothing foreign is touched.

    The manifest goes first: from then on the stage counts as unfinished, and an interrupted repair is safe.
    """
    wrong = [finding for finding in check.findings if finding.kind != "foreign"]
    if not wrong:
        return 0
    outputs.folder.delete([MANIFEST_KEY])
    torn = [finding.key for finding in wrong if finding.kind == "torn" and finding.key != MANIFEST_KEY]
    outputs.folder.delete(torn)
    return sum(finding.kind == "torn" for finding in wrong)
