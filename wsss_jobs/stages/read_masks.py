"""Masks that were made elsewhere, as a stage: those of any run, or a folder of PNG files."""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import field_validator, model_validator

from wsss_jobs.errors import DataError
from wsss_jobs.records import Mask
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageConfig, StageContext
from wsss_jobs.storage.item_numbers import item_numbers
from wsss_jobs.storage.mask_source import MaskSource
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.uris import is_remote, local_path


class ReadMasksConfig(StageConfig):
    """Settings.

    Attributes:
        source: Folder of a complete mask stage of any run (`runs/<run>/<stage>-<fingerprint>`), or of files
            `<source key>.png` with class ids and 255 for ignore; a path or an `s3://` address. Fingerprints know it by
            its address: put other masks into another folder.
        image_column: Column of numbers in that stage's `masks.parquet`; here it becomes `<this stage>_confidence`, by
            which `train_segmentation` can weight images.
        quality: Or the file of scores that `wsss quality` left of these masks
            (`runs/<run>/evaluation/<recipe>-quality.parquet`); the score becomes `<this stage>_confidence`.
    """

    source: str
    image_column: str | None = None
    quality: str | None = None

    @field_validator("source", "quality")
    @classmethod
    def _absolute(cls, address: str | None) -> str | None:
        """Returns an address that means the same in a worker's folder."""
        return address if address is None or is_remote(address) else str(local_path(address).absolute())

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if self.image_column is not None and self.quality is not None:
            raise ValueError("give image_column or quality, not both: an image has one confidence")
        return self


class ReadMasks(ItemStage):
    """`Mask` out; an item without one fails."""

    NAME: ClassVar[str] = "read_masks"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = ReadMasksConfig
    READS: ClassVar[Mapping[str, type]] = {}
    WRITES: ClassVar[type] = Mask
    NEEDS_IMAGE: ClassVar[bool] = False

    def __init__(self, config: ReadMasksConfig, context: StageContext) -> None:
        del context
        self._config = config
        self._source = MaskSource(config.source, config.image_column)
        self._scores = {} if config.quality is None else item_numbers(config.quality, "score")

    def _one(self, entry: ItemInput) -> Ok:
        item = entry.item
        try:
            label_HW, before_HW = self._source.read(item)
        except ObjectNotFoundError as error:
            message = f"{self._config.source} has no mask of it ({error})"
            raise DataError(item.source_key, "missing_mask", message) from error
        height, width = label_HW.shape
        if (width, height) != (item.width_px, item.height_px):
            message = f"its mask is {width} x {height} pixels, the image {item.width_px} x {item.height_px}"
            raise DataError(item.source_key, "size_mismatch", message)
        number = self._scores.get(item.item_id) if self._config.quality is not None else self._source.number(item)
        return Ok(Mask(label_HW, before_HW), {} if number is None else {"confidence": number})
