"""Parquet files with images and masks that Hugging Face `datasets` loads and its hub shows.

Format: https://huggingface.co/docs/hub/datasets-manual-configuration and the schema metadata `huggingface` that
`datasets` writes into its own Parquet files.
"""

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from wsss_jobs.exports.base import ExportContext, Exporter, LabelledItem

SHARD_BYTES = 256 << 20
ROW_GROUP_ROWS = 100  # what the hub's viewer reads at once
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class HuggingFaceExporter(Exporter[tuple[str, dict[str, Any]]]):
    """`data/<split>/00000.parquet`, ... and `README.md`. Masks are palette PNGs: arrays of class ids; 255 stays 255.

    Columns: `image`, `mask`, `source_key`, and `labels`, the image's tags with the ids of the masks.
    """

    SUMMARY: ClassVar[str] = "Hugging Face datasets, Parquet with images and masks"

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        self._schema = _schema(context.class_names)
        self._shards: dict[str, _Shards] = {}

    def convert(self, labelled: LabelledItem) -> tuple[str, dict[str, Any]]:
        """Split and row."""
        row = {
            "image": {"bytes": labelled.read_image(), "path": labelled.file_name},
            "mask": {"bytes": labelled.png, "path": f"{labelled.name}.png"},
            "source_key": labelled.item.source_key,
            "labels": list(labelled.item.labels),
        }
        return re.sub(r"\W", "_", labelled.item.split), row

    def add(self, converted: tuple[str, dict[str, Any]]) -> None:
        """Adds the row to its split."""
        split, row = converted
        if split not in self._shards:
            self._shards[split] = _Shards(self.context, self._schema, split)
        self._shards[split].add(row)

    def finish(self) -> None:
        """Stores the last files and the card that names the splits."""
        for shards in self._shards.values():
            shards.close()
        self.context.target.put("README.md", self._card().encode())

    def _card(self) -> str:
        files = [{"split": split, "path": f"data/{split}/*.parquet"} for split in sorted(self._shards)]
        # JSON is YAML.
        configs = json.dumps([{"config_name": "default", "data_files": files}], ensure_ascii=False)
        values = "\n".join(f"- {value}: {name}" for value, name in enumerate(("background", *self.context.class_names)))
        text = f"# {self.context.title}\n\nImages with pseudo labels. Values of `mask`:\n\n{values}\n- 255: ignore\n"
        return f"---\nconfigs: {configs}\ntask_categories:\n- image-segmentation\n---\n\n{text}"


class _Shards:
    """The Parquet files of one split: rows go into groups, groups into a local file, full files into the store."""

    def __init__(self, context: ExportContext, schema: pa.Schema, split: str) -> None:
        self._target, self._schema, self._split = context.target, schema, split
        self._path: Path = context.scratch / f"{split}.parquet"
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._num_bytes = 0
        self._num_files = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._num_bytes += len(row["image"]["bytes"]) + len(row["mask"]["bytes"])
        if len(self._rows) == ROW_GROUP_ROWS:
            self._write_group()
        if self._num_bytes >= SHARD_BYTES:
            self.close()

    def close(self) -> None:
        """Stores the file that is being written, if one is."""
        if self._rows:
            self._write_group()
        if self._writer is not None:
            self._writer.close()
            self._target.upload(self._path, f"data/{self._split}/{self._num_files:05d}.parquet")
            self._path.unlink()
            self._num_files += 1
            self._writer, self._num_bytes = None, 0

    def _write_group(self) -> None:
        if self._writer is None:
            # Images are compressed already.
            packing = {"source_key": "zstd", "image.bytes": "none", "mask.bytes": "none"}
            self._writer = pq.ParquetWriter(self._path, self._schema, compression=packing, use_dictionary=False)
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def _schema(class_names: tuple[str, ...]) -> pa.Schema:
    names = {"names": ["background", *class_names], "_type": "ClassLabel"}
    features = {
        "image": {"_type": "Image"},
        "mask": {"_type": "Image"},
        "source_key": {"dtype": "string", "_type": "Value"},
        "labels": {"feature": names, "_type": "Sequence"},
    }
    columns = [
        ("image", _PICTURE),
        ("mask", _PICTURE),
        ("source_key", pa.string()),
        ("labels", pa.list_(pa.int64())),
    ]
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})
