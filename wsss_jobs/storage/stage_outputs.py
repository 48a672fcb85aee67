"""The ledger of one stage: what is done, what failed, and where the results are (docs/storage.md).

Workers commit one item at a time; the driver lists what is there. Nothing is locked: keys and bytes are determined by
the stage's fingerprint and the item, so writing twice is waste and never damage.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wsss_jobs.storage import artifacts, failures, finalise, receipts
from wsss_jobs.storage.failures import ItemFailure
from wsss_jobs.storage.instance_rows import InstanceRow, png_text
from wsss_jobs.storage.item_names import ItemNames, ItemRef, is_among
from wsss_jobs.storage.manifest import MANIFEST_KEY, Manifest, StageKind, plan_digest, read_manifest
from wsss_jobs.storage.mask_facts import MaskFacts, facts_of_mask
from wsss_jobs.storage.mask_parts import PackedMask, find_packed_masks, read_packed_mask
from wsss_jobs.storage.mask_png import decode_mask, encode_mask
from wsss_jobs.storage.object_keys import object_key
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.tensor_parts import PartRow, find_part_rows, read_part_row
from wsss_jobs.storage.tensor_rows import encode_tensors, tensors_of_row

ITEMS_PREFIX = "items/"


class StageOutputs:
    """The outputs of one stage in a run's store. Picklable; made anew in each process for nothing.

    Args:
        store: The run's store.
        stage_name: Such as "refine_masks".
        fingerprint: Of the stage's config, version and inputs.
        mask_variants: For stages that write masks: their folders, in the order in which an item's are committed. An
            item is done when all exist.
    """

    def __init__(
        self, store: ObjectStore, stage_name: str, fingerprint: str, mask_variants: Sequence[str] = ("masks",)
    ) -> None:
        self.stage_name = stage_name
        self.fingerprint = fingerprint
        self.mask_variants = tuple(mask_variants)
        self.folder = store.child(f"{stage_name}-{fingerprint}")
        self._part_rows: dict[str, PartRow] | None = None
        self._packed: dict[str, dict[str, PackedMask]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_part_rows": None, "_packed": {}}

    # --- workers -----------------------------------------------------------------------------------------------------

    def commit_mask(
        self,
        item: ItemRef,
        label_HW: NDArray[np.uint8],
        variant: str = "masks",
        instances: Sequence[InstanceRow] | None = None,
    ) -> MaskFacts:
        """Store a mask, and in it what its objects are where it is an instance mask; its facts, for the receipt.

        The first bytes under a key stay, so the facts are of what is stored, also if another attempt was earlier.
        """
        text = None if instances is None else png_text(instances)
        key, data = self.mask_key(item, variant), encode_mask(label_HW, text)
        if self.folder.put_if_absent(key, data):
            return facts_of_mask(variant, key, data, label_HW)
        return facts_of_mask(variant, key, self.folder.get(key))

    def commit_tensors(self, item: ItemRef, tensors: Mapping[str, NDArray[Any]]) -> str:
        """Store an item's tensors; the SHA-256 of the object that holds them, for the receipt.

        Every item of a stage must have the same names and dtypes, in the same order.
        """
        key, data = tensor_key(item.item_id), encode_tensors(item.item_id, item.source_key, tensors)
        stored = data if self.folder.put_if_absent(key, data) else self.folder.get(key)
        return hashlib.sha256(stored).hexdigest()

    def commit_failure(self, item: ItemRef, reason: str, message: str) -> None:
        """Record that an item has no output, and why."""
        failures.write_failure(self.folder, ItemFailure(item.item_id, item.source_key, reason, message))

    def write_receipts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add receipts: dicts with `item_id` and any columns that Arrow can infer; the same rows twice count once.

        `attempt` (a number) orders the receipts of an item; `masks` is a list of `MaskFacts.as_receipt()`.
        """
        receipts.write_receipts(self.folder, rows)

    # --- the driver --------------------------------------------------------------------------------------------------

    def done_tensor_ids(self) -> set[str]:
        """Ids of the items whose tensors are stored, from the listing and the footers of the parts."""
        return set(self._tensor_ids())

    def done_masks(self, items: Collection[ItemRef]) -> NDArray[np.bool_]:
        """Whether all masks of each item are stored, bool `[n]`, from the listing and the names in the parts."""
        names = ItemNames.of(items)
        done = np.ones(len(names), dtype=np.bool_)
        for variant in reversed(self.mask_variants):
            done &= is_among(names.keys(partial(_mask_key, variant)), self._mask_keys(variant))
        return done

    def done_tensors(self, items: Collection[ItemRef]) -> NDArray[np.bool_]:
        """Whether the tensors of each item are stored, bool `[n]`."""
        return is_among(ItemNames.of(items).column("item_id"), self._tensor_ids())

    def done(self, items: Collection[ItemRef]) -> NDArray[np.bool_]:
        """Whether each item needs no more work here, bool `[n]`, whatever the stage writes."""
        return self.done_masks(items) | self.done_tensors(items)

    # Small objects first: if another driver completes the stage between the two listings, its parts are seen.

    def _mask_keys(self, variant: str) -> Iterator[str]:
        yield from (info.key for info in self.folder.list(f"{variant}/"))
        yield from self.packed_masks(variant)

    def _tensor_ids(self) -> Iterator[str]:
        for info in self.folder.list(ITEMS_PREFIX):
            yield info.key.removeprefix(ITEMS_PREFIX).removesuffix(".parquet")
        yield from find_part_rows(self.folder)

    def done_item_ids(self, items: Collection[ItemRef]) -> set[str]:
        """Ids of those items that need no more work here."""
        return set(ItemNames.of(items).where(self.done(items)).column("item_id").to_pylist())

    def failed_item_ids(self) -> set[str]:
        """Ids of the items with a recorded failure. An item that is done as well counts as done."""
        return failures.failed_item_ids(self.folder)

    def read_failures(self) -> list[ItemFailure]:
        """The recorded failures, in item-id order."""
        return failures.read_failures(self.folder)

    def retry_failed(self) -> int:
        """Forget all failures, so that these items are worked on again; how many there were."""
        self.folder.delete([MANIFEST_KEY])
        return failures.clear_failures(self.folder)

    def manifest(self) -> Manifest | None:
        """What the complete stage holds; None while it is not complete."""
        return read_manifest(self.folder)

    def is_complete(self, items: Collection[ItemRef] | None = None) -> bool:
        """Whether the stage was finalised; with items, whether it was for just these."""
        manifest = self.manifest()
        if manifest is None:
            return False
        return items is None or manifest.plan_sha256 == plan_digest(ItemNames.of(items).column("item_id"))

    def finalise(self, items: Collection[ItemRef], kind: StageKind, *, pack_masks: bool = False) -> Manifest:
        """Complete the stage: check that no item is missing, compact, write the manifest, then delete small objects.

        It can be interrupted anywhere and called again; the result is the same. With `pack_masks`, the PNGs go into
        large Parquet files; readers find them in either place.

        Raises:
            StageError: An item is neither done nor failed, or items have different tensors.
        """
        self._part_rows = None
        return finalise.finalise(self, items, kind, pack=pack_masks)

    # --- readers -----------------------------------------------------------------------------------------------------

    def mask_key(self, item: ItemRef, variant: str = "masks") -> str:
        """Where a mask lies below the stage's folder."""
        return _mask_key(variant, item.source_key)

    def read_mask(self, item: ItemRef, variant: str = "masks") -> NDArray[np.uint8]:
        """A stored mask, uint8 [H, W].

        Raises:
            ObjectNotFoundError: The item has none.
        """
        return decode_mask(self.mask_data(self.mask_key(item, variant), variant), item.source_key)

    def mask_data(self, key: str, variant: str) -> bytes:
        """The PNG of a mask, from an object of its own or from a part.

        Raises:
            ObjectNotFoundError: There is none.
        """
        known = self._packed.get(variant)
        packed = (self.packed_masks(variant) if known is None else known).get(key)
        if packed is None:
            try:
                return self.folder.get(key)
            except ObjectNotFoundError:
                packed = self.packed_masks(variant).get(key)  # the stage may have been completed since
                if packed is None:
                    raise
        return read_packed_mask(self.folder, packed)

    def packed_masks(self, variant: str) -> dict[str, PackedMask]:
        """Where the packed masks of a variant lie, by key, as the parts are now."""
        self._packed[variant] = find_packed_masks(self.folder, variant)
        return self._packed[variant]

    def read_tensors(self, item_id: str) -> dict[str, NDArray[Any]]:
        """The stored tensors of an item, read-only, from its own object or from a part.

        Raises:
            ObjectNotFoundError: The item has none.
        """
        for find in (self._row_in_part, self._own_row, self._row_in_new_part):
            row = find(item_id)
            if row is not None:
                return tensors_of_row(row)
        raise ObjectNotFoundError(f"{self.folder.uri}: holds no tensors of item {item_id}")

    def _row_in_part(self, item_id: str) -> pa.Table | None:
        if self._part_rows is None:
            self._part_rows = find_part_rows(self.folder)
        row = self._part_rows.get(item_id)
        return None if row is None else read_part_row(self.folder, row)

    def _own_row(self, item_id: str) -> pa.Table | None:
        try:
            return pq.read_table(pa.BufferReader(self.folder.get(tensor_key(item_id))))
        except ObjectNotFoundError:
            return None

    def _row_in_new_part(self, item_id: str) -> pa.Table | None:
        self._part_rows = None  # the stage may have been completed since its parts were listed
        return self._row_in_part(item_id)

    # --- artifacts of training stages --------------------------------------------------------------------------------

    def put_file(self, path: Path, key: str) -> None:
        """Store a file, such as a checkpoint, as `key` below the stage's folder.

        What lies below `working/` is not part of the result: it goes away when the stage is finalised.
        """
        self.folder.upload(path, key)

    def local_copy(self, key: str, cache_root: Path | None = None) -> Path:
        """The path of a local copy of an artifact of a complete stage, for reading; see `artifacts.local_copy`."""
        return artifacts.local_copy(self.folder, key, cache_root)


def _mask_key(variant: str, source_key: str) -> str:
    return f"{variant}/{object_key(source_key)}.png"


def tensor_key(item_id: str) -> str:
    """Where an item's tensors lie below the stage's folder until the stage is complete."""
    return f"{ITEMS_PREFIX}{item_id}.parquet"
