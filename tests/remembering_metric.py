"""A metric that remembers what it is told, in the place of one of Ray's."""

from collections.abc import Mapping, Sequence


class RememberingMetric:
    """A counter, gauge or histogram."""

    def __init__(
        self, name: str, description: str, tag_keys: Sequence[str], boundaries: Sequence[float] | None = None
    ) -> None:
        self.tag_keys, self.boundaries = set(tag_keys), boundaries
        self.values: list[tuple[float, Mapping[str, str]]] = []

    def inc(self, amount: float, tags: Mapping[str, str]) -> None:
        """Remembers an amount and its tags, all of which have to be there."""
        assert set(tags) == self.tag_keys
        self.values.append((amount, tags))

    observe = inc
