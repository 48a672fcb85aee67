from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cluster.fan_out.dispatch import ActorLoad, Assignment, LegLoad, assign


def load(num_waiting, actors, *, num_solo=0, more_to_come=True, batch_size=4, max_batches=2) -> LegLoad:
    return LegLoad(
        num_waiting, num_solo, more_to_come, batch_size, max_batches, [ActorLoad(*actor) for actor in actors]
    )


def test_idle_actors_first_and_full_batches_behind_them():
    sent = assign(load(14, [(7, 1), (8, 0), (9, 0)]))
    assert sent == [Assignment(8, 4), Assignment(9, 4), Assignment(7, 4)]  # two items wait for company


def test_an_idle_actor_takes_what_there_is():
    assert assign(load(3, [(7, 1), (8, 0)])) == [Assignment(8, 3)]


def test_the_rest_is_spread_when_no_more_comes():
    sent = assign(load(5, [(7, 0), (8, 0)], more_to_come=False))
    assert sent == [Assignment(7, 2), Assignment(8, 1), Assignment(7, 1), Assignment(8, 1)]


def test_nothing_to_send_or_nobody_to_send_it_to():
    assert assign(load(0, [(7, 0)])) == []
    assert assign(load(9, [])) == []
    assert assign(load(9, [(7, 2), (8, 2)])) == []
    assert assign(load(0, [], num_solo=3)) == []


def test_a_suspect_gets_an_idle_actor_and_others_go_on():
    assert assign(load(8, [(7, 0), (8, 0)], num_solo=2)) == [
        Assignment(7, 1, alone=True),
        Assignment(8, 4),
        Assignment(8, 4),
    ]


def test_one_actor_is_emptied_for_a_suspect():
    assert assign(load(8, [(7, 2), (8, 1)], num_solo=1)) == []  # nothing more for 8
    assert assign(load(8, [(7, 1), (8, 0)], num_solo=1)) == [Assignment(8, 1, alone=True), Assignment(7, 4)]


def test_while_work_waits_suspects_use_one_actor_at_a_time():
    assert assign(load(8, [(7, 1, True), (8, 0)], num_solo=2)) == [Assignment(8, 4), Assignment(8, 4)]


def test_suspects_use_all_idle_actors_when_nothing_else_waits():
    sent = assign(load(0, [(7, 1, True), (8, 0), (9, 0), (10, 1)], num_solo=5))
    assert sent == [Assignment(8, 1, alone=True), Assignment(9, 1, alone=True)]


@given(
    num_waiting=st.integers(0, 60),
    num_solo=st.integers(0, 4),
    more_to_come=st.booleans(),
    batch_size=st.integers(1, 9),
    max_batches=st.integers(1, 4),
    loads=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=8),
)
def test_rules_of_dispatch(num_waiting, num_solo, more_to_come, batch_size, max_batches, loads):
    actors = []
    for key, (num_batches, alone) in enumerate(loads):
        runs_alone = alone and num_batches > 0
        actors.append(ActorLoad(key, 1 if runs_alone else min(num_batches, max_batches), runs_alone))
    sent = assign(LegLoad(num_waiting, num_solo, more_to_come, batch_size, max_batches, actors))

    by_key = {actor.key: actor for actor in actors}
    alone_keys = [s.actor for s in sent if s.alone]
    counts = Counter(s.actor for s in sent)
    assert sum(s.num_items for s in sent if not s.alone) <= num_waiting
    assert len(alone_keys) <= num_solo
    assert all(1 <= s.num_items <= batch_size for s in sent)
    assert all(by_key[key].num_batches + count <= max_batches for key, count in counts.items())
    # A suspect is alone: its actor was idle and gets nothing else, and nothing goes behind one that runs.
    assert all(by_key[key].num_batches == 0 and counts[key] == 1 for key in alone_keys)
    assert not any(by_key[s.actor].runs_alone for s in sent)
    # Work and an idle actor never just look at each other.
    idle = [actor for actor in actors if actor.num_batches == 0]
    if idle and (num_waiting or num_solo):
        assert sent
