"""Groups of images: what they have in common, and that nobody changes them by asking."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.training.group_sampling import GroupSampler
from wsss_jobs.training.schedule import worker_batches

tag_lists = st.lists(st.sets(st.integers(1, 5), max_size=3).map(sorted), min_size=1, max_size=25)


def sampler(labels, size=4, strategy="greedy", seed=0):
    return GroupSampler([f"item{number}" for number in range(len(labels))], labels, size, strategy, seed)


@settings(deadline=None, max_examples=200)
@given(labels=tag_lists, size=st.integers(1, 6), epoch=st.integers(0, 3))
def test_no_image_would_be_a_better_partner_than_those_taken(labels, size, epoch):
    sets = [set(tags) for tags in labels]
    for index, group in enumerate(sampler(labels, size).epoch_groups(epoch)):
        assert group[0] == index
        assert len(set(group)) == len(group)

        def merit(other, own=sets[index]):
            return len(sets[other] & own), -len(sets[other] - own)

        related = [other for other in range(len(labels)) if other != index and sets[other] & sets[index]]
        assert len(group) == min(size, 1 + len(related))
        best = sorted((merit(other) for other in related), reverse=True)[: size - 1]
        assert sorted((merit(other) for other in group[1:]), reverse=True) == best


@settings(deadline=None, max_examples=100)
@given(labels=tag_lists, size=st.integers(1, 6), strategy=st.sampled_from(["one_common", "random", "identical"]))
def test_the_other_strategies(labels, size, strategy):
    sets = [set(tags) for tags in labels]
    for index, group in enumerate(sampler(labels, size, strategy).epoch_groups(0)):
        assert group[0] == index
        assert len(set(group)) == len(group)
        others = [other for other in range(len(labels)) if other != index]
        if strategy != "random":
            others = [other for other in others if sets[other] & sets[index]]
        assert len(group) == min(size, 1 + len(others))
        assert set(group[1:]) <= set(others)
        if strategy == "identical":
            same = [other for other in others if sets[other] == sets[index]]
            assert sum(sets[other] == sets[index] for other in group[1:]) == min(len(same), size - 1)


def test_partners_of_equal_merit_are_equally_likely():
    labels = [[1], [1], [1], [1, 2], [1, 2], [1, 2], [2]]  # the anchor 0 needs both other [1], and one of three [1, 2]
    counts = Counter(group for epoch in range(1500) for group in sampler(labels).group(0, epoch)[1:])
    assert counts[1] == counts[2] == 1500
    assert set(counts) == {1, 2, 3, 4, 5}
    assert all(abs(counts[number] - 500) < 80 for number in (3, 4, 5))


def test_groups_depend_on_seed_and_epoch_alone():
    labels = [[1 + number % 3] for number in range(60)]
    groups = sampler(labels).epoch_groups(2)
    fresh = sampler(labels)
    for index in reversed(range(60)):  # one by one, and in another order
        assert fresh.group(index, 2) == groups[index]
    assert sampler(labels).epoch_groups(3) != groups
    assert sampler(labels, seed=1).epoch_groups(2) != groups


@pytest.mark.parametrize("num_workers", [2, 4])
def test_workers_together_see_the_groups_of_one_worker(num_workers):
    labels = [[1 + number % 3] for number in range(40)]

    def batches(rank, count):
        own = sampler(labels)
        return [[own.group(i, 1) for i in batch] for batch in worker_batches(40, 8, 7, 1, rank, count)]

    alone = batches(0, 1)
    shares = [batches(rank, num_workers) for rank in range(num_workers)]
    for number, batch in enumerate(alone):
        assert sorted(batch) == sorted(group for share in shares for group in share[number])


def test_an_image_with_a_class_of_its_own_is_alone():
    assert sampler([[1], [2], [2], []]).group(0, 0) == [0]
    assert sampler([[1], [2], [2], []]).group(3, 0) == [3]
    assert sorted(sampler([[1], [2], [2], []], strategy="random").group(0, 0)) == [0, 1, 2, 3]


def test_numpy_labels_are_welcome():
    assert sorted(sampler([np.array([2, 1]), np.array([1, 2])], size=2).group(1, 0)) == [0, 1]
