"""Published tables, as data: what a paper prints, and which of our methods stands beside it."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MetricName = Literal["miou", "mean_precision", "mean_recall", "pixel_accuracy"]


class Block(BaseModel):
    """A part of a comparison file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Block):
    """One number of a table's rows.

    Attributes:
        title: Its heading, with the unit.
        metric: Which score of our methods stands here, %.
        class_name: The IoU of this class (as the data set names it, or `background`) instead of a metric.
    """

    title: str = "mIoU (%)"
    metric: MetricName = "miou"
    class_name: str | None = None


class Row(Block):
    """One row of a table.

    Attributes:
        cells: Heading -> text, for the columns that hold no number (backbone, publication, a loss switched on).
        published: Column -> the number that the source prints.
        ours: Column -> the method whose score stands beside it; one name for all columns. None: not run here.
    """

    method: str
    cells: dict[str, str] = Field(default_factory=dict)
    published: dict[str, float] = Field(default_factory=dict)
    ours: str | dict[str, str] | None = None

    @field_validator("published", mode="before")
    @classmethod
    def _one_number_is_miou(cls, value: object) -> object:
        return {"miou": value} if isinstance(value, (int, float)) else value

    def our_method(self, column: str) -> str | None:
        """Returns the method whose score stands in a column, or None."""
        return self.ours.get(column) if isinstance(self.ours, dict) else self.ours


class PublishedTable(Block):
    """A table of a paper.

    Attributes:
        source: Paper and table; what the published numbers were measured on.
        note: What has to be known to read ours beside them.
        over_epochs: Its columns are epochs of a training: our CAMs in them are also drawn, as curves and as pictures.
    """

    title: str
    source: str
    note: str = ""
    columns: dict[str, Column] = Field(default_factory=lambda: {"miou": Column()})
    rows: tuple[Row, ...] = Field(min_length=1)
    over_epochs: bool = False

    @model_validator(mode="after")
    def _columns_are_known(self) -> Self:
        for row in self.rows:
            named = [*row.published, *(row.ours if isinstance(row.ours, dict) else ())]
            unknown = [name for name in named if name not in self.columns]
            if unknown:
                raise ValueError(f"row {row.method!r}: no column {unknown[0]!r}; columns are {', '.join(self.columns)}")
        return self


class Margin(Block):
    """By how much one method should be above another.

    Attributes:
        above: The method that should be better.
        below: The other one.
        aim: Difference in percentage points that is aimed at, such as the published one.
        metric: Of which score.
    """

    above: str
    below: str
    aim: float
    metric: MetricName = "miou"
