"""Stages in one process: what reaches which stage, and what is said of each item."""

from cluster.fan_out import Outcome, WorkItem
from wsss_jobs.chain_worker import ChainWorker


class Adding:
    """Adds its number to what it is given, and fails for some ids."""

    def __init__(self, name, number, bad=()):
        self.name, self.number, self.bad, self.seen = name, number, bad, []

    def run(self, items, upstream):
        self.seen.append([item.id for item in items])
        given = upstream or [item.payload for item in items]
        return [
            Outcome(item.id, ok=False, reason=f"bad_{self.name}", message="m")
            if item.id in self.bad
            else Outcome(item.id, ok=True, receipt={f"{self.name}_sum": value}, payload=value + self.number)
            for item, value in zip(items, given, strict=True)
        ]


ITEMS = [WorkItem("a", 1), WorkItem("b", 2), WorkItem("c", 3)]


def test_the_record_of_one_stage_is_the_next_one_s_input():
    outcomes = ChainWorker([Adding("first", 10), Adding("second", 100)]).run(ITEMS, [])
    assert [outcome.payload for outcome in outcomes] == [111, 112, 113]
    assert [outcome.receipt["first_sum"] for outcome in outcomes] == [1, 2, 3]
    assert [outcome.receipt["second_sum"] for outcome in outcomes] == [11, 12, 13]
    assert all(outcome.receipt[f"{name}_seconds"] >= 0 for outcome in outcomes for name in ("first", "second"))


def test_a_chain_behind_another_leg_begins_with_its_payloads():
    outcomes = ChainWorker([Adding("first", 10), Adding("second", 100)]).run(ITEMS, [5, 6, 7])
    assert [outcome.payload for outcome in outcomes] == [115, 116, 117]


def test_a_failed_item_goes_no_further_and_takes_nobody_along():
    second, third = Adding("second", 100, bad={"c"}), Adding("third", 1000)
    outcomes = ChainWorker([Adding("first", 10, bad={"a"}), second, third]).run(ITEMS, [])
    assert (second.seen, third.seen) == ([["b", "c"]], [["b"]])
    assert [(outcome.item_id, outcome.ok, outcome.reason) for outcome in outcomes] == [
        ("a", False, "bad_first"),
        ("b", True, ""),
        ("c", False, "bad_second"),
    ]
    assert outcomes[1].payload == 1112


def test_where_all_fail_the_next_stage_is_not_called():
    second = Adding("second", 100)
    outcomes = ChainWorker([Adding("first", 10, bad={"a", "b", "c"}), second]).run(ITEMS, [])
    assert not second.seen
    assert not any(outcome.ok for outcome in outcomes)
