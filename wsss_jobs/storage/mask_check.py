"""Re-reads the masks of a stage: objects of their own, and rows of parts."""

import hashlib
import io
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from wsss_jobs.storage.findings import Examination, Finding, must_have_sha256
from wsss_jobs.storage.manifest import Manifest
from wsss_jobs.storage.mask_facts import MASKS, MASKS_KEY, facts_from_receipts
from wsss_jobs.storage.mask_parts import MASK_ROWS, mask_part_prefix
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.tables import check_tag, decode_table

if TYPE_CHECKING:
    from wsss_jobs.storage.item_names import ItemRef
    from wsss_jobs.storage.stage_outputs import StageOutputs


def check_masks(
    outputs: "StageOutputs",
    items: Collection["ItemRef"],
    present: Collection[str],
    manifest: Manifest | None,
    receipts: pa.Table,
    found: Examination,
) -> None:
    """Examines every mask that is there, and notes whose masks are all sound.

    Args:
        outputs: The stage.
        items: All items of the data set.
        present: Keys of the stage's objects.
        manifest: Of a complete stage.
        receipts: Of the stage, as far as they can be read.
        found: Gets the findings.
    """
    hashes = _known_hashes(outputs, present, manifest, receipts, found)
    done = {item.item_id for item in items}
    for variant in outputs.mask_variants:
        keys = {outputs.mask_key(item, variant): item.item_id for item in items}
        sound = _check_parts(outputs, variant, present, manifest, hashes, found)
        own = [key for key in present if key in keys]
        sound |= set(found.look_at_all((key, _look_at_png(outputs, key, hashes.get(key))) for key in own))
        done &= {item_id for key, item_id in keys.items() if key in sound}
    found.done_ids |= done


def missing_masks(outputs: "StageOutputs", items: Collection["ItemRef"], present: Collection[str]) -> list[Finding]:
    """Findings for those of these items that have no sound masks."""
    keys = {outputs.mask_key(item, variant) for item in items for variant in outputs.mask_variants}
    message = "neither an object nor in a readable part"
    return [Finding("missing", key, message) for key in sorted(keys - set(present))]


def _known_hashes(
    outputs: "StageOutputs",
    present: Collection[str],
    manifest: Manifest | None,
    receipts: pa.Table,
    found: Examination,
) -> dict[str, str]:
    hashes = {key: facts.sha256 for key, facts in facts_from_receipts(receipts).items()}

    def read() -> None:
        table = decode_table(outputs.folder.get(MASKS_KEY), MASKS, outputs.folder.uri_of(MASKS_KEY))
        hashes.update(zip(table.column("key").to_pylist(), table.column("sha256").to_pylist(), strict=True))

    if manifest is not None or MASKS_KEY in present:
        found.look_at(MASKS_KEY, read)
    return hashes


def _look_at_png(outputs: "StageOutputs", key: str, sha256: str | None) -> Callable[[], object]:
    return lambda: _check_png(outputs.folder.get(key), key, sha256)


def _check_png(data: bytes, key: str, sha256: str | None) -> None:
    must_have_sha256(sha256, hashlib.sha256(data).hexdigest())
    decode_mask(data, key)


def _check_parts(
    outputs: "StageOutputs",
    variant: str,
    present: Collection[str],
    manifest: Manifest | None,
    hashes: Mapping[str, str],
    found: Examination,
) -> set[str]:
    """Keys of the masks in sound parts. A part with one bad mask is torn as a whole."""
    prefix = mask_part_prefix(variant)
    written = {output.key: output.sha256 for output in manifest.outputs} if manifest else {}
    sound: set[str] = set()
    for part in sorted({key for key in (*present, *written) if key.startswith(prefix)}):
        keys: list[str] = []

        def read(part: str = part, keys: list[str] = keys) -> None:
            data = outputs.folder.get(part)
            must_have_sha256(written.get(part), hashlib.sha256(data).hexdigest())
            table = pq.read_table(io.BytesIO(data), columns=["key", "png"])
            check_tag(table.schema, MASK_ROWS, part)
            for key, png in zip(table.column("key").to_pylist(), table.column("png").to_pylist(), strict=True):
                _check_png(png, key, hashes.get(key))
                keys.append(key)

        if found.look_at(part, read):
            sound |= set(keys)
            found.num_sound += len(keys)
    return sound
