"""What is known of the objects of an instance mask: a text chunk of its PNG, and a column of the table of masks.

The text travels with the mask: one object is committed, packed, verified and copied, and a lost receipt loses no score.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import pyarrow as pa
from PIL import Image

_KEYWORD = "wsss-instances"
INSTANCES = pa.list_(
    pa.struct(
        [
            ("instance_id", pa.uint8()),
            ("class_id", pa.uint8()),
            ("score", pa.float64()),
            ("num_px", pa.int64()),
            ("x_px", pa.int32()),
            ("y_px", pa.int32()),
            ("width_px", pa.int32()),
            ("height_px", pa.int32()),
        ]
    )
)


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One object.

    Args:
        instance_id: Its value in the mask.
        class_id: As in label masks, from 1.
        score: In 0..1.
        num_px: Its pixels.
        x_px: Left end of its bounding box.
        y_px: Upper end of it.
        width_px: Width of the box.
        height_px: Height of the box.
    """

    instance_id: int
    class_id: int
    score: float
    num_px: int
    x_px: int
    y_px: int
    width_px: int
    height_px: int


def png_text(rows: Sequence[InstanceRow]) -> dict[str, str]:
    """The text chunk of an instance mask: JSON with column names and a list of values an object."""
    columns = [field.name for field in fields(InstanceRow)]
    return {_KEYWORD: json.dumps({"columns": columns, "rows": [astuple(row) for row in rows]})}


def rows_of_png(data: bytes) -> tuple[InstanceRow, ...]:
    """The objects that a PNG's text names; none for other masks."""
    if _KEYWORD.encode() not in data:
        return ()
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        content = json.loads(getattr(image, "text", {}).get(_KEYWORD, '{"columns": [], "rows": []}'))
    return tuple(InstanceRow(**dict(zip(content["columns"], row, strict=True))) for row in content["rows"])
