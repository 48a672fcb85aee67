import pytest

from cluster.fan_out.blame import LossCause, Verdicts, cause_of_loss, judge

QUEUE = [(1, 2), (3,), (4, 5)]


@pytest.mark.parametrize("cause", [LossCause.PROCESS_DIED, LossCause.DEADLINE])
def test_only_the_head_of_the_queue_can_be_guilty(cause):
    assert judge(cause, QUEUE) == Verdicts(suspects=(1, 2), bystanders=(3, 4, 5))
    assert judge(cause, QUEUE[1:]) == Verdicts(blamed=(3,), bystanders=(4, 5))


@pytest.mark.parametrize("cause", [LossCause.NODE_LOST, LossCause.UNREACHABLE])
def test_nobody_is_guilty_of_what_befalls_a_node(cause):
    assert judge(cause, QUEUE) == Verdicts(bystanders=(1, 2, 3, 4, 5))


@pytest.mark.parametrize("cause", list(LossCause))
def test_an_idle_actor_leaves_nobody(cause):
    assert judge(cause, []) == Verdicts()


@pytest.mark.parametrize(
    ("node_id", "preempted", "unreachable", "cause"),
    [
        ("alive", False, False, LossCause.PROCESS_DIED),
        ("alive", False, True, LossCause.UNREACHABLE),
        ("alive", True, False, LossCause.NODE_LOST),
        ("gone", False, False, LossCause.NODE_LOST),
        ("gone", False, True, LossCause.NODE_LOST),
        ("", False, False, LossCause.NODE_LOST),
    ],
)
def test_cause_of_loss(node_id, preempted, unreachable, cause):
    live = frozenset({"alive", "other"})
    assert cause_of_loss(node_id=node_id, live_nodes=live, preempted=preempted, unreachable=unreachable) is cause
