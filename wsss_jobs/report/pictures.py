"""The report's picture files: named by their content, so that nothing a user named can get into a link."""

import hashlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsss_jobs.storage.object_store import ObjectStore

_PREFIX = "pictures/"
_PHOTO_QUALITY = 78
_CAM_QUALITY = 60


class PictureFolder:
    """Stores pictures below the report's folder. Threads may share it.

    Args:
        folder: Where `index.html` lies.
    """

    def __init__(self, folder: ObjectStore) -> None:
        self._folder = folder
        self._written: set[str] = set()

    def add_photo(self, image_HW3: NDArray[np.uint8]) -> str:
        """Stores an RGB picture; returns its link, relative to the page."""
        return self._put(_webp(image_HW3, lossless=False, quality=_PHOTO_QUALITY))

    def add_flat(self, overlay_HW4: NDArray[np.uint8]) -> str:
        """Stores an RGBA picture of few colours exactly; returns its link."""
        return self._put(_webp(overlay_HW4, lossless=True, quality=75))

    def add_smooth(self, overlay_HW4: NDArray[np.uint8]) -> str:
        """Stores an RGBA picture of many colours with small loss; returns its link."""
        return self._put(_webp(overlay_HW4, lossless=False, quality=_CAM_QUALITY))

    def delete_stale(self) -> None:
        """Deletes the pictures of an earlier report that this one does not show."""
        present = [info.key for info in self._folder.list(_PREFIX)]
        self._folder.delete(key for key in present if key not in self._written)

    def _put(self, data: bytes) -> str:
        key = f"{_PREFIX}{hashlib.sha256(data).hexdigest()[:20]}.webp"
        if key not in self._written:
            self._folder.put_if_absent(key, data)
            self._written.add(key)
        return key


def _webp(pixels: NDArray[np.uint8], *, lossless: bool, quality: int) -> bytes:
    buffer = io.BytesIO()
    # exact=False lets the encoder choose the colour of pixels that are fully transparent
    Image.fromarray(pixels).save(buffer, format="WEBP", lossless=lossless, quality=quality, method=4, exact=False)
    return buffer.getvalue()
