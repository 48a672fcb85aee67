"""What runs in an actor's process, run in this one."""

import threading

import numpy as np
import pytest

from cluster.errors import WorkerBrokenError
from cluster.fan_out.actor import BatchReply, LegActor, describe_error, run_batch
from cluster.fan_out.types import Outcome, WorkItem

ITEMS = [WorkItem(f"i{number}", number) for number in range(4)]


class Doubler:
    """Doubles what it gets from upstream, or the payload; raises on 2."""

    def __init__(self):
        self.calls = []

    def run(self, items, upstream):
        self.calls.append([item.id for item in items])
        if any(item.payload == 2 for item in items):
            raise ValueError("two is bad")
        values = upstream or [item.payload for item in items]
        return [
            Outcome(item.id, True, {"n": item.payload}, payload=2 * v) for item, v in zip(items, values, strict=True)
        ]


def test_one_that_raises_does_not_take_the_others_along():
    worker = Doubler()
    outcomes = run_batch(worker, ITEMS, (10, 11, 12, 13))
    assert [outcome.ok for outcome in outcomes] == [True, True, False, True]
    assert [outcome.payload for outcome in outcomes] == [20, 22, None, 26]
    assert outcomes[2].reason == "worker_raised"
    assert "ValueError: two is bad" in outcomes[2].message
    assert worker.calls == [["i0", "i1", "i2", "i3"], ["i0"], ["i1"], ["i2"], ["i3"]]


@pytest.mark.parametrize("answer", [lambda items: [], lambda items: [Outcome("other", True) for _ in items]])
def test_a_worker_that_answers_other_items_than_asked_fails_them(answer):
    class Careless:
        def run(self, items, upstream):
            return answer(items)

    outcomes = run_batch(Careless(), ITEMS[:2], ())
    assert [(outcome.item_id, outcome.ok) for outcome in outcomes] == [("i0", False), ("i1", False)]
    assert "item by item, in order" in outcomes[0].message


def actor_with(worker) -> LegActor:
    actor = LegActor()
    assert actor.make_worker(lambda: worker) == ""
    return actor


def test_payloads_are_returned_beside_the_reply():
    reply, *payloads = actor_with(Doubler()).run(ITEMS, True)
    assert isinstance(reply, BatchReply)
    assert [outcome.payload for outcome in reply.outcomes] == [None] * 4
    assert reply.outcomes[3].receipt == {"n": 3}
    assert payloads == [0, 2, None, 6]
    assert reply.seconds > 0


def test_the_last_leg_returns_the_reply_alone():
    reply = actor_with(Doubler()).run(ITEMS[:2], False)
    assert [outcome.ok for outcome in reply.outcomes] == [True, True]


def test_a_payload_that_cannot_be_pickled_fails_its_item_only():
    class Odd:
        def run(self, items, upstream):
            return [Outcome("i0", True, payload=threading.Lock()), Outcome("i1", True, payload=np.ones(3))]

    reply, *payloads = actor_with(Odd()).run(ITEMS[:2], True)
    assert [outcome.ok for outcome in reply.outcomes] == [False, True]
    assert "pickle" in reply.outcomes[0].message
    assert payloads[0] is None
    assert payloads[1].sum() == 3


def test_a_broken_worker_says_so_instead_of_answering():
    class Broken:
        def run(self, items, upstream):
            raise WorkerBrokenError("device-side assert")

    reply, *payloads = actor_with(Broken()).run(ITEMS, True)
    assert reply.broken == "device-side assert"
    assert reply.outcomes == ()
    assert payloads == [None] * 4
    assert actor_with(Broken()).run(ITEMS, False).broken


def test_what_a_factory_raises_is_told_with_its_place():
    def factory():
        raise OSError("no such weights")

    message = LegActor().make_worker(factory)
    assert message.startswith("OSError: no such weights (")
    assert "test_actor.py" in message
    assert message.endswith("in factory)")


def test_long_messages_are_cut():
    assert len(describe_error(ValueError("x" * 100_000))) < 2100


def test_ray_shows_which_leg_an_actor_serves():
    assert repr(LegActor("propagate_gcn")) == "LegActor(propagate_gcn)"


def test_what_a_worker_raises_is_in_the_log_of_its_process_with_all_frames(caplog):
    class Broken:
        def run(self, items, upstream):
            raise KeyError("no such class")

    actor_with(Broken()).run(ITEMS[:1], False)
    [record] = caplog.records
    assert record.getMessage() == f"worker raised item={ITEMS[0].id}"
    assert record.exc_info[0] is KeyError
