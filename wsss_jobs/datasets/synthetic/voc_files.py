"""Scenes in PASCAL VOC's layout."""

from xml.sax.saxutils import escape

from wsss_jobs.datasets.synthetic.layout import Scene, extent_of
from wsss_jobs.datasets.synthetic.shapes import SYNTHETIC_CLASSES
from wsss_jobs.datasets.synthetic.stored_png import encode_stored_png
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.object_store import ObjectStore


class VocFiles:
    """The layout that `VocConfig` reads: images, masks, annotations, the lists `train` and `val`, a table of tags."""

    OURS: tuple[str, ...] = (
        "JPEGImages/", "SegmentationClass/", "Annotations/", "ImageSets/", "image_labels.csv", "classes.txt",
    )  # fmt: skip

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._labels: dict[str, tuple[int, ...]] = {}
        self._val: set[str] = set()

    def add(self, scene: Scene) -> None:
        """Writes an image, its mask and its annotation."""
        self._store.put(f"JPEGImages/{scene.name}.png", encode_stored_png(scene.image_HW3))
        self._store.put(f"SegmentationClass/{scene.name}.png", encode_mask(scene.label_HW))
        self._store.put(f"Annotations/{scene.name}.xml", _annotation(scene).encode())
        self._labels[scene.name] = scene.labels
        if scene.is_held_out:
            self._val.add(scene.name)

    def finish(self) -> None:
        """Writes the lists, the table of tags and the classes."""
        train = [name for name in self._labels if name not in self._val]
        for split, names in (("train", train), ("val", sorted(self._val))):
            self._store.put(f"ImageSets/Segmentation/{split}.txt", _lines(names))
        rows = [f"{name}.png,{'|'.join(SYNTHETIC_CLASSES[c - 1] for c in ids)}" for name, ids in self._labels.items()]
        self._store.put("image_labels.csv", _lines(["image,labels", *rows]))
        self._store.put("classes.txt", _lines(SYNTHETIC_CLASSES))


def _lines(lines: list[str] | tuple[str, ...]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _annotation(scene: Scene) -> str:
    height, width = scene.label_HW.shape
    objects = "".join(_object(scene, class_id) for class_id in scene.labels)
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{scene.name}.png</filename>{size}{objects}</annotation>\n"


def _object(scene: Scene, class_id: int) -> str:
    x, y, width, height = extent_of(scene.label_HW == class_id)
    corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}  # VOC counts from 1
    box = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners.items())
    return f"<object><name>{escape(SYNTHETIC_CLASSES[class_id - 1])}</name><bndbox>{box}</bndbox></object>"
