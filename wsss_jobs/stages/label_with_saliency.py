"""Masks from CAMs and saliency maps that the user has made: background is where nothing is salient.

Source: Zhou et al., IEEE TIP 2022, section IV-E (background seeds from a saliency network); thresholds of
the released code; the paper gives none.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from models.affinity.saliency_labels import SaliencyRules, saliency_label
from wsss_jobs.datasets.images import decode_image
from wsss_jobs.errors import DataError
from wsss_jobs.records import Cams, Mask
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageConfig, StageContext
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.uris import is_remote, local_path, read_uri

_PLACEHOLDER = "{source_key}"


class LabelWithSaliencyConfig(StageConfig):
    """Settings; the defaults are those of the released code.

    Attributes:
        saliency: Address of an image's saliency map, a grey image of its size with 255 where an object is;
            `{source_key}` stands for the image's name. A path or `s3://`. Fingerprints know maps by their address: put
            other ones into another folder.
        rules: When a pixel gets no label.
    """

    saliency: str
    rules: SaliencyRules = Field(default_factory=SaliencyRules)

    @field_validator("saliency")
    @classmethod
    def _absolute_with_placeholder(cls, saliency: str) -> str:
        """Returns an address that means the same in a worker's folder."""
        if _PLACEHOLDER not in saliency:
            raise ValueError(f"must contain {_PLACEHOLDER}, such as saliency/{_PLACEHOLDER}.png; got {saliency!r}")
        return saliency if is_remote(saliency) else str(local_path(saliency).absolute())


class LabelWithSaliency(ItemStage):
    """`Cams` in, `Mask` out: 255 where CAMs and saliency contradict each other; before: the plain read-out."""

    NAME: ClassVar[str] = "label_with_saliency"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = LabelWithSaliencyConfig
    READS: ClassVar[Mapping[str, type]] = {"cams": Cams}
    WRITES: ClassVar[type] = Mask
    NEEDS_IMAGE: ClassVar[bool] = False

    def __init__(self, config: LabelWithSaliencyConfig, context: StageContext) -> None:
        del context
        self._config = config

    def _one(self, entry: ItemInput) -> Ok:
        cams: Cams = entry.records["cams"]
        cam_KHW = full_resolution(cams, entry.item)
        saliency_HW = self._saliency(entry)
        result = saliency_label(cam_KHW, cams.class_ids, saliency_HW, self._config.rules)
        return Ok(Mask(result.label_HW, result.plain_HW), {"ignored_fraction": float((result.label_HW == 255).mean())})

    def _saliency(self, entry: ItemInput) -> np.ndarray:
        """Returns the map, uint8 `[H, W]`.

        Raises:
            DataError: There is none, or it has another size.
        """
        item = entry.item
        uri = self._config.saliency.replace(_PLACEHOLDER, item.source_key)
        try:
            image_HW3 = decode_image(read_uri(uri), item.source_key)
        except ObjectNotFoundError as error:
            raise DataError(item.source_key, "missing_saliency", f"has no saliency map {uri}") from error
        height, width = image_HW3.shape[:2]
        if (width, height) != (item.width_px, item.height_px):
            message = f"its saliency map is {width} x {height} pixels, the image {item.width_px} x {item.height_px}"
            raise DataError(item.source_key, "size_mismatch", message)
        return np.asarray(Image.fromarray(image_HW3).convert("L"))
