"""After a loss: verdicts on the items that were hit, and the way back for each."""

import logging
from dataclasses import replace

from cluster.fan_out.blame import LossCause, judge
from cluster.fan_out.finishing import finish_failed, first_line
from cluster.fan_out.observers import Observers
from cluster.fan_out.retry import Fate, fate_of
from cluster.fan_out.state import ActorState, LegState, RunState, SentBatch, TrackedItem

_log = logging.getLogger(__name__)

_UNKNOWN_NODE = "unknown"


def recover_actor(
    state: RunState, leg: LegState, actor: ActorState, cause: LossCause, message: str, observers: Observers
) -> None:
    """Deal with the items of an actor that is gone, and take it out of the pool."""
    leg.actors.pop(actor.number)
    state.num_actor_deaths += 1
    if observers.metrics:
        observers.metrics.actor_lost(leg.leg.name)
    items = {item.number: item for batch in actor.batches for item in batch.items}
    _log.warning(
        "actor lost run=%s leg=%s cause=%s node=%s actor=%s items=%d: %s",
        state.run_id,
        leg.leg.name,
        cause.name.lower(),
        actor.node_id,
        actor.actor_id,
        len(items),
        first_line(message),
    )
    leg.num_running -= len(items)
    verdicts = judge(cause, [[item.number for item in batch.items] for batch in actor.batches])
    for number in verdicts.blamed:
        _hold_against(items[number], leg, cause)
    for number in verdicts.suspects:
        _suspect(items[number], leg)
    # Last first: each goes to the front of the queue, and so they keep their order.
    for number in sorted(items, reverse=True):
        _send_back(state, leg, items[number], f"{cause.value}: {message}", observers)


def recover_batch(state: RunState, leg: LegState, batch: SentBatch, message: str, observers: Observers) -> None:
    """Deal with a batch that its actor could not run or answer: a lone item fails, several are tried one by one."""
    if len(batch.items) == 1:
        finish_failed(state, leg, batch.items[0], "worker_raised", message, observers)
        return
    for item in reversed(batch.items):
        _suspect(item, leg)
        _send_back(state, leg, item, message, observers)


def recover_upstream(state: RunState, leg: LegState, batch: SentBatch, message: str, observers: Observers) -> None:
    """Deal with a batch of which a payload no longer exists: nobody is to blame.

    Items whose payload was on a node that is gone start again at the first leg; if no such node is known, all do.
    """
    if not any(state.payload_is_lost(item) for item in batch.items):
        for item in batch.items:
            item.payload_node = _UNKNOWN_NODE
    for item in reversed(batch.items):
        _send_back(state, leg, item, message, observers)


def recover_payloads(state: RunState, observers: Observers) -> None:
    """Send the waiting items whose payload is lost back to the first leg."""
    for leg in state.legs[1:]:
        for queue in (leg.fresh, leg.returned, leg.solo):
            lost = [item for item in queue if state.payload_is_lost(item)]
            for item in reversed(lost):
                queue.remove(item)
                _send_back(state, leg, item, "its payload was lost with a node", observers)


def _hold_against(item: TrackedItem, leg: LegState, cause: LossCause) -> None:
    history = item.history(leg.index)
    if cause is LossCause.DEADLINE:
        item.histories[leg.index] = replace(history, deadlines=history.deadlines + 1, is_suspect=True)
    else:
        item.histories[leg.index] = replace(history, deaths=history.deaths + 1, is_suspect=True)


def _suspect(item: TrackedItem, leg: LegState) -> None:
    item.histories[leg.index] = replace(item.history(leg.index), is_suspect=True)


def _send_back(state: RunState, leg: LegState, item: TrackedItem, message: str, observers: Observers) -> None:
    fate = fate_of(item.history(leg.index), item.attempts, state.policy)
    if fate.is_quarantine:
        finish_failed(state, leg, item, fate.value, _quarantine_message(fate, item, leg, message), observers)
        return
    state.num_retried += 1
    _log.info(
        "item sent again run=%s leg=%s item=%s attempts=%d: %s",
        state.run_id,
        leg.leg.name,
        item.item.id,
        item.attempts,
        first_line(message),
    )
    if observers.metrics:
        observers.metrics.item_retried(leg.leg.name)
    if state.payload_is_lost(item):
        state.restart(item)
    elif fate is Fate.RETRY_ALONE:
        leg.solo.append(item)
    else:
        leg.returned.appendleft(item)


def _quarantine_message(fate: Fate, item: TrackedItem, leg: LegState, message: str) -> str:
    history = item.history(leg.index)
    if fate is Fate.WORKER_DIED:
        return f"the worker process died {history.deaths} times on this item; last: {message}"
    if fate is Fate.DEADLINE_EXCEEDED:
        return f"took longer than deadline_s {leg.leg.deadline_s:g}, {history.deadlines} times"
    return f"given up after {item.attempts} attempts; last: {message}"
