"""Packs the masks of a stage that is being completed, and takes the packed ones away when the manifest is written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wsss_jobs.storage.artifacts import object_sha256
from wsss_jobs.storage.item_names import ItemRef
from wsss_jobs.storage.manifest import OutputFile
from wsss_jobs.storage.mask_parts import MaskName, find_packed_masks, write_mask_parts

if TYPE_CHECKING:
    from wsss_jobs.storage.stage_outputs import StageOutputs


def pack_masks(outputs: "StageOutputs", done: Sequence[ItemRef]) -> None:
    """Packs the masks of these items that are not packed yet. Their own objects stay for now."""
    for variant in outputs.mask_variants:
        # Objects first: if another driver completes the stage between the two listings, its parts are seen.
        small = {info.key: info for info in outputs.folder.list(f"{variant}/")}
        packed = outputs.packed_masks(variant)
        keys = {outputs.mask_key(item, variant): item for item in done}
        masks = [MaskName(item.item_id, item.source_key, small[key]) for key, item in keys.items() if key not in packed]
        parts = {row.part.key for row in packed.values()}
        write_mask_parts(outputs.folder, variant, masks, sorted(parts))


def packed_files(outputs: "StageOutputs") -> list[OutputFile]:
    """The parts that hold masks, for the manifest."""
    files = []
    for variant in outputs.mask_variants:
        num_masks: dict[str, int] = {}
        for row in outputs.packed_masks(variant).values():
            num_masks[row.part.key] = num_masks.get(row.part.key, 0) + 1
        files += [OutputFile(key, object_sha256(outputs.folder, key), num_masks[key]) for key in sorted(num_masks)]
    return files


def delete_packed_objects(outputs: "StageOutputs") -> None:
    """Deletes the objects of masks that a part holds as well."""
    for variant in outputs.mask_variants:
        packed = find_packed_masks(outputs.folder, variant)
        if packed:
            listed = [info.key for info in outputs.folder.list(f"{variant}/")]
            outputs.folder.delete([key for key in listed if key in packed])
