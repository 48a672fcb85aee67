"""Windows over an image that is too large to be seen at once.

Windows overlap, and each pixel is read from one of them: the one in whose middle it lies. So memory is bounded by a
window whatever the image's size; averaging overlapping windows would keep class scores of whole rows of windows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from models.errors import InvalidInputError


@dataclass(frozen=True)
class Span:
    """A window along one axis, in pixels of the image.

    Attributes:
        start: First pixel that is seen.
        stop: Behind the last pixel that is seen.
        core_start: First pixel that is read.
        core_stop: Behind the last pixel that is read.
    """

    start: int
    stop: int
    core_start: int
    core_stop: int

    @property
    def seen(self) -> slice:
        """What the network sees, of the image."""
        return slice(self.start, self.stop)

    @property
    def core(self) -> slice:
        """What is read, of the image."""
        return slice(self.core_start, self.core_stop)

    @property
    def core_in_window(self) -> slice:
        """What is read, of the window."""
        return slice(self.core_start - self.start, self.core_stop - self.start)


def sliding_windows(size_hw: tuple[int, int], window_px: int, overlap_px: int) -> Iterator[tuple[Span, Span]]:
    """Yields windows as (rows, columns), row by row; an image that fits is one window. Cores tile the image.

    Args:
        window_px: Longest side of a window.
        overlap_px: Least overlap of neighbours; half of it is context around a core.

    Raises:
        InvalidInputError: The overlap leaves no room.
    """
    if not 0 <= overlap_px < window_px:
        msg = f"overlap_px must be at least 0 and less than window_px {window_px}; got {overlap_px}"
        raise InvalidInputError(msg)
    columns = _spans(size_hw[1], window_px, overlap_px)
    for row in _spans(size_hw[0], window_px, overlap_px):
        for column in columns:
            yield row, column


def _spans(size: int, window: int, overlap: int) -> list[Span]:
    if size <= window:
        return [Span(0, size, 0, size)]
    count = -(-(size - overlap) // (window - overlap))
    starts = [index * (size - window) // (count - 1) for index in range(count)]
    borders = [0, *((before + window + after) // 2 for before, after in pairwise(starts)), size]
    return [Span(start, start + window, borders[i], borders[i + 1]) for i, start in enumerate(starts)]
