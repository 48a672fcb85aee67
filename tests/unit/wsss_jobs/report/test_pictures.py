import io

import numpy as np
from PIL import Image

from wsss_jobs.report.pictures import PictureFolder
from wsss_jobs.storage.uris import open_store


def test_flat_overlays_are_stored_exactly(tmp_path):
    store = open_store(tmp_path)
    overlay_HW4 = np.zeros((12, 16, 4), dtype=np.uint8)
    overlay_HW4[3:8, 4:9] = (64, 0, 128, 150)
    link = PictureFolder(store).add_flat(overlay_HW4)
    with Image.open(io.BytesIO(store.get(link))) as image:
        found_HW4 = np.asarray(image.convert("RGBA"))
    visible_HW = overlay_HW4[..., 3] > 0
    assert (found_HW4[..., 3] == overlay_HW4[..., 3]).all()
    assert (found_HW4[visible_HW] == overlay_HW4[visible_HW]).all()


def test_equal_pictures_are_one_file_and_others_another(tmp_path):
    store = open_store(tmp_path)
    pictures = PictureFolder(store)
    black, white = np.zeros((5, 5, 3), dtype=np.uint8), np.full((5, 5, 3), 255, dtype=np.uint8)
    assert pictures.add_photo(black) == pictures.add_photo(black)
    assert pictures.add_photo(black) != pictures.add_photo(white)
    assert len(list(store.list())) == 2


def test_pictures_of_an_earlier_report_go_away(tmp_path):
    store = open_store(tmp_path)
    store.put("index.html", b"page")
    old = PictureFolder(store).add_photo(np.zeros((5, 5, 3), dtype=np.uint8))
    pictures = PictureFolder(store)
    new = pictures.add_photo(np.ones((6, 6, 3), dtype=np.uint8))
    pictures.delete_stale()
    assert [info.key for info in store.list()] == ["index.html", new]
    assert old != new
