"""Items a second of the last minute: what a stage does now, not what it did while it waited for a node."""

from collections import deque

_WINDOW_S = 60.0


class ProgressRate:
    """Counts over time."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, count: int) -> None:
        """Notes that `count` were done at `now_s` seconds."""
        if not self._points or count == self._points[0][1]:
            self._points.clear()  # the clock starts when the first is about to be done
        self._points.append((now_s, count))
        while len(self._points) > 2 and now_s - self._points[0][0] > _WINDOW_S:
            self._points.popleft()

    @property
    def per_s(self) -> float:
        """Items a second; 0 while unknown."""
        if len(self._points) < 2:
            return 0.0
        (start_s, start), (end_s, end) = self._points[0], self._points[-1]
        return (end - start) / (end_s - start_s) if end_s > start_s else 0.0

    def eta_s(self, num_left: int) -> float | None:
        """Seconds for what is left; None while unknown."""
        return num_left / self.per_s if self.per_s > 0 else None
