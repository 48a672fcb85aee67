"""What a run has left in the store, against what an undisturbed run left: for `benchmarks.chaos`."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.parquet as pq

from wsss_jobs.storage.object_store import ObjectStore

# What holds no times, hosts or attempts: masks, tensors, and the manifests, which are written last.
_OUTPUTS = ("infer_cams-", "refine_masks-")
_NOT_COMPARED = ("/receipts", "/masks.parquet")


@dataclass(frozen=True)
class Comparison:
    """A run against the undisturbed one.

    Attributes:
        lost: Outputs of the undisturbed run that are missing, or have other bytes.
        doubled: Outputs that the undisturbed run does not have, and second rows of a mask in the table of masks.
    """

    lost: tuple[str, ...]
    doubled: tuple[str, ...]


def output_digests(run: ObjectStore) -> dict[str, str]:
    """Returns the SHA-256 of every output of a complete run, by key."""
    keys = [info.key for info in run.list() if info.key.startswith(_OUTPUTS)]
    return {
        key: hashlib.sha256(run.get(key)).hexdigest() for key in keys if not any(part in key for part in _NOT_COMPARED)
    }


def compare(run: ObjectStore, expected: Mapping[str, str]) -> Comparison:
    """Returns what is wrong with a complete run."""
    found = output_digests(run)
    lost = [key for key, digest in expected.items() if found.get(key) != digest]
    return Comparison(tuple(lost), (*sorted(found.keys() - expected.keys()), *_repeated_rows(run)))


def _repeated_rows(run: ObjectStore) -> list[str]:
    [key] = [info.key for info in run.list("refine_masks-") if info.key.endswith("/masks.parquet")]
    rows = pq.read_table(io.BytesIO(run.get(key)), columns=["item_id", "variant"]).to_pylist()
    counts = Counter((row["item_id"], row["variant"]) for row in rows)
    return [f"{item_id} {variant}" for (item_id, variant), count in counts.items() if count > 1]
