"""Where a data set is and how it is laid out: the `dataset` block of a recipe."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class _DatasetConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


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

    _one_is_a_list = field_validator("splits", "masks", mode="before")(_as_list)


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


class CocoConfig(_DatasetConfig):
    """COCO's layout, 2014 or 2017, or anyone's own set in it: `annotations/instances_<split>.json`, `<split>/`.

    Attributes:
        format: "coco".
        root: The folder of the set, a path or `s3://` address. The other paths are below it.
        splits: Splits to use, in this order; `{split}` in the paths below stands for each.
        annotations: The instances JSON of a split. An image's tags are the categories of its annotations, crowds too.
        images: The image folder of a split.
        masks: Folder with ground truth for scoring, as `wsss data coco-masks` renders it. It need not exist.
        classes: None takes the file's categories in the order of their ids (COCO's 80 become 1..80), else the names, or
            the address of a file with one name a line.
        images_without_objects: `leave_out`: they are not part of the set. `keep`: they are, without tags. Classifiers
            can learn from them; CAMs need a tag, so `infer_cams` has them as failed items.
    """

    format: Literal["coco"] = "coco"
    root: str = Field(min_length=1)
    splits: tuple[str, ...] = Field(default=("train2014",), min_length=1)
    annotations: str = "annotations/instances_{split}.json"
    images: str = "{split}"
    masks: str = "masks/{split}"
    classes: str | tuple[str, ...] | None = None
    images_without_objects: Literal["leave_out", "keep"] = "leave_out"

    _one_is_a_list = field_validator("splits", mode="before")(_as_list)


class CubConfig(_DatasetConfig):
    """CUB-200-2011 as it is unpacked: `images.txt`, `image_class_labels.txt`, `train_test_split.txt`, `images/`.

    Attributes:
        format: "cub".
        root: The folder `CUB_200_2011`, a path or `s3://` address.
        splits: "train", "test" or both.
        masks: Folder below `root` with ground truth for scoring, `<class folder>/<image>.png`. It need not exist.
    """

    format: Literal["cub"] = "cub"
    root: str = Field(min_length=1)
    splits: tuple[Literal["train", "test"], ...] = Field(default=("train",), min_length=1)
    masks: str = "masks"

    _one_is_a_list = field_validator("splits", mode="before")(_as_list)


class LabelStudioConfig(_DatasetConfig):
    """A folder of images and what Label Studio exports of a project with choices, as JSON or JSON-MIN.

    Attributes:
        format: "label_studio".
        images: The image folder, a path or `s3://` address. A task's image is the file there that the end of its
            address names; the eight digits that uploads get before their name do not count.
        export: Address of the exported file.
        classes: The names, "voc", or the address of a file with one name a line.
        image_key: The task's field that holds the image's address.
        control: Name of the `Choices` whose answers are the tags; None takes those of all (in JSON-MIN: `choice`).
        split: The split of all images.
        masks: A folder with ground truth for scoring, `<image without extension>.png`.
    """

    format: Literal["label_studio"] = "label_studio"
    images: str = Field(min_length=1)
    export: str = Field(min_length=1)
    classes: str | tuple[str, ...]
    image_key: str = "image"
    control: str | None = None
    split: str = Field(default="train", min_length=1)
    masks: str | None = None


class CvatConfig(_DatasetConfig):
    """A folder of images and what CVAT exports as "CVAT for images 1.1".

    Attributes:
        format: "cvat".
        images: The image folder, a path or `s3://` address; the names in the file are below it.
        annotations: Address of `annotations.xml`. An image's tags are its tags and the labels of its shapes.
        classes: The names, "voc", or the address of a file with one name a line.
        split: The split of images whose entry has no `subset`.
        masks: A folder with ground truth for scoring, `<image without extension>.png`.
    """

    format: Literal["cvat"] = "cvat"
    images: str = Field(min_length=1)
    annotations: str = Field(min_length=1)
    classes: str | tuple[str, ...]
    split: str = Field(default="train", min_length=1)
    masks: str | None = None


DatasetConfig = Annotated[
    VocConfig | FolderConfig | CocoConfig | CubConfig | LabelStudioConfig | CvatConfig, Field(discriminator="format")
]
