"""Masks that were made elsewhere: by a stage of any run, or a folder of PNG files."""

import numpy as np
from numpy.typing import NDArray

from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.item_names import ItemRef
from wsss_jobs.storage.manifest import read_manifest
from wsss_jobs.storage.mask_facts import score_column
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.storage.uris import open_store

_BEFORE_CRF = "masks_before_crf"


class MaskSource:
    """A complete stage's folder `<run>/<stage>-<fingerprint>`, packed or not, or a folder of `<source key>.png`.

    Args:
        uri: A path or `s3://` address.
        column: Column of numbers in the stage's `masks.parquet`, or None.

    Raises:
        ConfigError: A column of a folder that is no stage's.
        StageError: The stage's table has no such column.
    """

    def __init__(self, uri: str, column: str | None = None) -> None:
        parent, _, name = uri.rstrip("/").rpartition("/")
        self._folder = open_store(uri)
        self._stage: StageOutputs | None = None
        if read_manifest(self._folder) is not None:
            stage_name, _, fingerprint = name.rpartition("-")
            self._stage = StageOutputs(open_store(parent or "."), stage_name, fingerprint)
        elif column is not None:
            raise ConfigError(f"{uri}: is no folder of a complete stage, so it has no column {column!r}; leave it out")
        self._numbers = {} if column is None else score_column(self._folder, column)

    def read(self, item: ItemRef) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The mask and the mask before the CRF, uint8 [H, W]; the same where the source has but one.

        Raises:
            ObjectNotFoundError: There is none.
            DataError: It cannot be decoded.
        """
        if self._stage is None:
            label_HW = decode_mask(self._folder.get(f"{item.source_key}.png"), item.source_key)
            return label_HW, label_HW
        label_HW = self._stage.read_mask(item)
        try:
            return label_HW, self._stage.read_mask(item, _BEFORE_CRF)
        except ObjectNotFoundError:
            return label_HW, label_HW

    def number(self, item: ItemRef) -> float | None:
        """The item's number in the column, or None."""
        return self._numbers.get(item.item_id)
