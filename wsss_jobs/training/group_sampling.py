"""Which images learn, or are looked at, together.

Source: Zhou et al., "Group-Wise Learning for Weakly Supervised Semantic Segmentation" (IEEE TIP 2022), section VI-A3
and Table IV: greedy groups (68.7 mIoU) against partners with one common class (68.3) and random ones (67.1); identical
tags are those of the released code.

A group depends on the data set, the run's seed, its first image and the epoch, and on nothing else: not on who asks for
it, nor in which order.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

SamplingName = Literal["greedy", "one_common", "random", "identical"]
_KEPT_TIERS = 4096


class _Tier(NamedTuple):
    """Images of the same merit, as places 0, 1, ...; place p lies in the set s with ends[s - 1] <= p < ends[s].

    Attributes:
        offsets: What has to be added to a place of a set to have its position in the order of all images by set.
    """

    ends: np.ndarray
    offsets: np.ndarray


class GroupSampler:
    """Groups of up to `group_size` images, as indices; the first one is whose group it is (the anchor).

    - `greedy`: images that share as many classes as possible with the anchor; among these, those with the fewest other
      classes; among these, at random.
    - `one_common`: any images that share a class with it.
    - `random`: any images.
    - `identical`: images with the same tags; where there are too few, those that share a class.

    An image that shares a class with too few others, or has no tags, gets a smaller group, down to itself alone (but
    with `random`).

    Args:
        item_ids: What draws are keyed by.
        labels: Class ids of each image, from 1; distinct within an image.
    """

    def __init__(
        self,
        item_ids: Sequence[str],
        labels: Sequence[Sequence[int]],
        group_size: int,
        strategy: SamplingName = "greedy",
        seed: int = 0,
    ) -> None:
        self._item_ids = item_ids
        self._group_size = group_size
        self._strategy = strategy
        self._seed = seed
        self._index_sets([tuple(sorted(tags)) for tags in labels])
        self._tiers = lru_cache(_KEPT_TIERS)(self._find_tiers)

    def __len__(self) -> int:
        return len(self._set_of)

    def group(self, index: int, epoch: int) -> list[int]:
        """Returns the anchor `index` and its partners, in no particular order."""
        num_missing = self._group_size - 1
        members = [index]
        if num_missing == 0:
            return members
        draws = _draws(f"{self._seed}/{epoch}/{self._item_ids[index]}")
        for tier in self._tiers(int(self._set_of[index])):
            drawn = self._draw(tier, num_missing, index, draws)
            members += drawn
            num_missing -= len(drawn)
            if num_missing == 0:
                break
        return members

    def epoch_groups(self, epoch: int) -> list[list[int]]:
        """Returns the groups of all anchors, in their own order."""
        groups: list[list[int]] = [[] for _ in range(len(self))]
        for index in self._by_set.tolist():  # anchors with the same tags follow each other
            groups[index] = self.group(index, epoch)
        return groups

    def _index_sets(self, labels: Sequence[tuple[int, ...]]) -> None:
        """Groups images by their tags: data sets have far fewer combinations of tags than images."""
        number_of = {tags: number for number, tags in enumerate(sorted(set(labels)))}
        self._sets = list(number_of)
        self._set_of = np.array([number_of[tags] for tags in labels], dtype=np.int64)
        self._by_set = np.argsort(self._set_of, kind="stable")
        self._count_of = np.bincount(self._set_of, minlength=len(self._sets))
        self._start_of = np.cumsum(self._count_of) - self._count_of
        self._set_sizes = np.array([len(tags) for tags in self._sets], dtype=np.int16)
        highest = max((max(tags, default=0) for tags in self._sets), default=0)
        self._has_class = np.zeros((highest + 1, len(self._sets)), dtype=np.uint8)
        for number, tags in enumerate(self._sets):
            self._has_class[list(tags), number] = 1

    def _find_tiers(self, own: int) -> list[_Tier]:
        return [self._tier(sets) for sets in self._partner_sets(own)]

    def _tier(self, sets: np.ndarray) -> _Tier:
        counts = self._count_of[sets]
        ends = np.cumsum(counts)
        return _Tier(ends, self._start_of[sets] - (ends - counts))

    def _partner_sets(self, own: int) -> Iterator[np.ndarray]:
        """Yields sets of tags whose images may be partners, the best ones first, until there are enough images."""
        if self._strategy == "random":
            yield np.arange(len(self._sets))
            return
        if not self._sets[own]:
            return  # an image without tags has nothing in common with any other
        if self._strategy != "one_common":
            yield np.array([own])  # nothing has more in common with an image, and less besides, than its equals
            if self._count_of[own] >= self._group_size:
                return
        num_common = np.zeros(len(self._sets), dtype=np.int16)
        for class_id in self._sets[own]:
            num_common += self._has_class[class_id]
        if self._strategy != "one_common":
            num_common[own] = 0
        if self._strategy == "greedy":
            yield from self._greedy_sets(num_common, self._group_size - int(self._count_of[own]))
        elif (related := np.flatnonzero(num_common)).size:
            yield related

    def _greedy_sets(self, num_common: np.ndarray, num_wanted: int) -> Iterator[np.ndarray]:
        # Many common classes first, then few others; one sort key, whose smallest value of a related set is positive.
        rank = num_common * (self._set_sizes.max() + np.int16(2)) - self._set_sizes
        rank[num_common == 0] = 0
        while num_wanted > 0 and (best := rank.max()) > 0:
            sets = np.flatnonzero(rank == best)
            yield sets
            rank[sets] = 0
            num_wanted -= int(self._count_of[sets].sum())

    def _draw(self, tier: _Tier, count: int, anchor: int, draws: Iterator[int]) -> list[int]:
        """Returns up to `count` images of a tier without the anchor, all with the same probability."""
        num_images = int(tier.ends[-1])
        places: dict[int, None] = {}  # keeps the order
        while len(places) < min(count + 1, num_images):  # one more than wanted: the anchor may be among them
            places[next(draws) % num_images] = None
        images = [self._image(tier, place) for place in places]
        return [image for image in images if image != anchor][:count]

    def _image(self, tier: _Tier, place: int) -> int:
        return int(self._by_set[place + tier.offsets[tier.ends.searchsorted(place, side="right")]])


def _draws(key: str) -> Iterator[int]:
    """Yields 64-bit numbers that depend on the key alone."""
    for counter in itertools.count():
        digest = hashlib.blake2b(f"{key}/{counter}".encode(), digest_size=64).digest()
        yield from (int.from_bytes(digest[start : start + 8], "little") for start in range(0, 64, 8))
