"""Where a data set is and how it is laid out: the `dataset` block of a recipe."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class _DatasetConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VocConfig(_DatasetConfig):
    """PASCAL VOC's layout: `JPEGImages/`, `ImageSets/Segmentation/<split>.txt`, `Annotations/` or a tags file.

    Attributes:
        format: "voc".
        root: The folder of the set (`.../VOC2012`), a path or `s3://` address.
        splits: Lists to use, in this order. A bare name is `ImageSets/Segmentation/<name>.txt`; anything with a slash
            or an extension is an address, below `root` unless absolute. Lines are ids or `/JPEGImages/<id>.jpg [mask]`;
            the second column is not read. An image of several lists belongs to the first.
        tags: Address of an `image,labels` CSV file, below `root` unless absolute. None takes the XML files of
            `Annotations/` if there are any, else `image_labels.csv`.
        classes: "voc", the names, or the address of a file with one name a line. None takes `classes.txt` below `root`
            if it exists, else the 20 VOC classes.
        images: The image folder below `root`.
        masks: Folders below `root` with ground truth for scoring; of an image, the first that has its mask counts.
            Folders that do not exist are passed over. Nothing but evaluation and the doctor reads them.
    """

    format: Literal["voc"] = "voc"
    root: str = Field(min_length=1)
    splits: tuple[str, ...] = Field(default=("train",), min_length=1)
    tags: str | None = None
    classes: str | tuple[str, ...] | None = None
    images: str = "JPEGImages"
    masks: tuple[str, ...] = ("SegmentationClassAug", "SegmentationClass")

    @field_validator("splits", "masks", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class FolderConfig(_DatasetConfig):
    """Any folder of images with a CSV file of tags.

    Attributes:
        format: "folder".
        images: The image folder, a path or `s3://` address; folders below it count too.
        tags: Address of a CSV file with the columns `image` (path below `images`, extension optional), `labels` (joined
            by `|`) and, if wanted, `split`. Images without a row are not part of the set.
        classes: The names, "voc", or the address of a file with one name a line.
        split: The split of images whose row names none.
        masks: A folder with ground truth for scoring, `<image without extension>.png`. Only evaluation and the doctor
            read it.
    """

    format: Literal["folder"] = "folder"
    images: str = Field(min_length=1)
    tags: str = Field(min_length=1)
    classes: str | tuple[str, ...]
    split: str = Field(default="train", min_length=1)
    masks: str | None = None


DatasetConfig = Annotated[VocConfig | FolderConfig, Field(discriminator="format")]
