"""Whose fault was it? Who is held to account when an actor is lost with work in its queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class LossCause(Enum):
    """Why an actor is gone. Only the first two can be an item's doing."""

    PROCESS_DIED = "its process died on a living node"
    DEADLINE = "it was killed because a batch exceeded its deadline"
    NODE_LOST = "its node died, was drained or was preempted"
    UNREACHABLE = "it stopped answering while its node lived"


@dataclass(frozen=True)
class Verdicts:
    """The items of a lost actor, by what is held against them.

    Attributes:
        blamed: The one item that ran alone: the loss counts against it.
        suspects: Items that ran together: each runs alone next time, nothing counts yet.
        bystanders: Items that only waited in the queue, or were hit by the loss of a node: nothing counts.
    """

    blamed: tuple[int, ...] = ()
    suspects: tuple[int, ...] = ()
    bystanders: tuple[int, ...] = ()


def judge(cause: LossCause, queue: Sequence[Sequence[int]]) -> Verdicts:
    """Verdicts on the items of a lost actor.

    Actors work through their queue in order, so only the batch at its head can have been running. Counting every
    failure against every item would quarantine innocent items when two nodes die in a row.

    Args:
        cause: Why the actor is gone.
        queue: Item numbers of its unfinished batches, head first.
    """
    if not queue or cause in (LossCause.NODE_LOST, LossCause.UNREACHABLE):
        return Verdicts(bystanders=tuple(number for batch in queue for number in batch))
    head = tuple(queue[0])
    behind = tuple(number for batch in queue[1:] for number in batch)
    if len(head) == 1:
        return Verdicts(blamed=head, bystanders=behind)
    return Verdicts(suspects=head, bystanders=behind)


def cause_of_loss(*, node_id: str, live_nodes: frozenset[str], preempted: bool, unreachable: bool) -> LossCause:
    """Why an actor is gone that nobody killed on purpose.

    Args:
        node_id: The node that it ran on; empty when it was never placed.
        live_nodes: Nodes that are alive and not being drained.
        preempted: The cluster says that the node was preempted.
        unreachable: The cluster cannot say that the actor is dead.
    """
    if preempted or node_id not in live_nodes:
        return LossCause.NODE_LOST
    return LossCause.UNREACHABLE if unreachable else LossCause.PROCESS_DIED
