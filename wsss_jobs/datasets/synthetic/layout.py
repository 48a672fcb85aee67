"""What a layout of files is: where scenes go, whatever the folders are called."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Extent(NamedTuple):
    """The smallest box around some pixels, in px from the image's upper left corner: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int


def extent_of(where_HW: NDArray[np.bool_]) -> Extent:
    """Returns the extent of the pixels that are True; there is at least one."""
    rows, columns = np.flatnonzero(where_HW.any(axis=1)), np.flatnonzero(where_HW.any(axis=0))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return Extent(int(columns[0]), int(rows[0]), int(width), int(height))


@dataclass(frozen=True)
class Scene:
    """A painted scene.

    Attributes:
        image_HW3: uint8.
        label_HW: uint8, class ids; at least one object.
        is_held_out: Whether it belongs to the list that is not for training.
    """

    name: str
    image_HW3: NDArray[np.uint8]
    label_HW: NDArray[np.uint8]
    is_held_out: bool

    @property
    def labels(self) -> tuple[int, ...]:
        """The class ids in the mask, in their order."""
        return tuple(int(class_id) for class_id in np.unique(self.label_HW) if class_id > 0)


class Layout(Protocol):
    """Writes scenes as the files of one layout."""

    OURS: tuple[str, ...]
    """What the keys of all files begin with; a folder with others is somebody else's."""

    def add(self, scene: Scene) -> None:
        """Writes an image with its mask."""

    def finish(self) -> None:
        """Writes the lists, once all images are there."""
