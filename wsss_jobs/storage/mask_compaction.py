"""Completing a stage of masks: the table of all of them, and what tells one set of them from another."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wsss_jobs.storage.item_names import ItemNames
from wsss_jobs.storage.manifest import OutputFile
from wsss_jobs.storage.mask_facts import (
    MASKS,
    MASKS_KEY,
    MaskFacts,
    facts_from_receipts,
    facts_of_mask,
    masks_schema,
    masks_table,
)
from wsss_jobs.storage.mask_packing import packed_files
from wsss_jobs.storage.mask_set_digest import mask_set_digest
from wsss_jobs.storage.merged_receipts import MergedReceipts
from wsss_jobs.storage.tables import table_writer

if TYPE_CHECKING:
    from wsss_jobs.storage.stage_outputs import StageOutputs

_NUM_READ_THREADS = 16
_ITEMS_AT_A_TIME = 1 << 11  # the facts of an item's masks take some kilobytes while they are Python objects
_SHA256_BYTES = 32


def compact_masks(outputs: "StageOutputs", ranges: Sequence[ItemNames], receipts: MergedReceipts) -> list[OutputFile]:
    """Writes `masks.parquet`, a row group a range; returns the sets of masks, and the files where they are packed."""
    num_items = sum(map(len, ranges))
    sha256 = {variant: np.empty((num_items, _SHA256_BYTES), dtype=np.uint8) for variant in outputs.mask_variants}
    num_before = 0
    with table_writer(outputs.folder, MASKS_KEY, MASKS, masks_schema(receipts.schema)) as writer:
        for range_, of_range in zip(ranges, receipts, strict=True):
            tables = []
            for items, theirs in _side_by_side(range_, of_range):
                facts = _facts(outputs, items, theirs)
                for variant, each in facts.items():
                    sha256[variant][num_before : num_before + len(items)] = _digests(each)
                rows = [
                    (*item, fact) for item, *of_item in zip(items, *facts.values(), strict=True) for fact in of_item
                ]
                tables.append(masks_table(rows, theirs))
                num_before += len(items)
            writer.write_table(pa.concat_tables(tables).combine_chunks())
            tables.clear()
            pa.default_memory_pool().release_unused()  # Arrow would keep some 100 MB of what ranges took
    sets = []
    for variant in outputs.mask_variants:
        keys = (outputs.mask_key(item, variant) for items in ranges for item in items)
        sets.append(OutputFile(f"{variant}/", mask_set_digest(keys, sha256[variant]), num_items))
    return sets + packed_files(outputs)


def _side_by_side(items: ItemNames, receipts: pa.Table) -> Iterator[tuple[ItemNames, pa.Table]]:
    """Yields some items at a time, once at least, with their receipts; both are in item-id order."""
    firsts = range(0, max(len(items), 1), _ITEMS_AT_A_TIME)
    ids = np.array(receipts.column("item_id").to_pylist(), dtype=np.str_)
    bounds = [0, *(int(np.searchsorted(ids, items[first].item_id)) for first in firsts[1:]), len(ids)]
    for first, begin, end in zip(firsts, bounds[:-1], bounds[1:], strict=True):
        yield items[first : first + _ITEMS_AT_A_TIME], receipts.slice(begin, end - begin)


def _facts(outputs: "StageOutputs", items: ItemNames, receipts: pa.Table) -> dict[str, list[MaskFacts]]:
    """Returns the facts of the items' masks by variant."""
    known = facts_from_receipts(receipts)
    keys = {variant: [outputs.mask_key(item, variant) for item in items] for variant in outputs.mask_variants}
    return {variant: _facts_of(outputs, variant, each, known) for variant, each in keys.items()}


def _facts_of(
    outputs: "StageOutputs", variant: str, keys: list[str], known: Mapping[str, MaskFacts]
) -> list[MaskFacts]:
    # Receipts are flushed now and then: what was committed after the last flush before a kill is read again.
    unknown = [key for key in keys if key not in known]
    with ThreadPoolExecutor(_NUM_READ_THREADS) as pool:
        read = pool.map(lambda key: facts_of_mask(variant, key, outputs.mask_data(key, variant)), unknown)
        found = dict(zip(unknown, read, strict=True))
    return [known[key] if key in known else found[key] for key in keys]


def _digests(facts: Sequence[MaskFacts]) -> np.ndarray:
    """Returns the masks' hashes, uint8 `[n, 32]`."""
    return np.frombuffer(bytes.fromhex("".join(fact.sha256 for fact in facts)), np.uint8).reshape(-1, _SHA256_BYTES)
