"""Small generated images for data sets of every format."""

import io

import numpy as np
import pytest
from PIL import Image

from wsss_jobs.storage.uris import open_store


@pytest.fixture
def png():
    """Makes the bytes of an image of noise: (seed, size as width and height)."""

    def make(seed, size=(24, 16)):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return make


@pytest.fixture
def local_store(tmp_path):
    """An empty folder as a store."""
    return open_store(tmp_path / "store")
