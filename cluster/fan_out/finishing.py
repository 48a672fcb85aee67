"""The end of an item: counted, reported, its place in flight given back."""

import logging

from cluster.errors import ErrorBudgetExceededError
from cluster.fan_out.error_budget import budget_message, tolerated_failures
from cluster.fan_out.observers import Observers
from cluster.fan_out.state import LegState, RunState, TrackedItem
from cluster.fan_out.types import FinalOutcome

_log = logging.getLogger(__name__)


def finish_done(state: RunState, item: TrackedItem, observers: Observers) -> None:
    """The item went through every leg."""
    state.num_in_flight -= 1
    state.num_done += 1
    if observers.metrics:
        observers.metrics.item_done(state.legs[-1].leg.name)
    observers.on_outcome(_last_word(item))


def finish_failed(
    state: RunState, leg: LegState, item: TrackedItem, reason: str, message: str, observers: Observers
) -> None:
    """The item failed in a leg.

    Raises:
        ErrorBudgetExceededError: It was one too many.
    """
    state.num_in_flight -= 1
    state.failed_reasons[reason] += 1
    item.payload = None
    if observers.metrics:
        observers.metrics.item_failed(leg.leg.name)
    place = (state.run_id, leg.leg.name, item.item.id, reason, item.attempts)
    _log.warning("item failed run=%s leg=%s item=%s reason=%s attempts=%d: %s", *place, first_line(message))
    observers.on_outcome(_last_word(item, leg.leg.name, reason, message))
    tolerated = tolerated_failures(state.num_done + state.num_failed, state.total, state.policy)
    if state.num_failed > tolerated:
        raise ErrorBudgetExceededError(budget_message(state.num_failed, tolerated, state.failed_reasons, state.policy))


def first_line(message: str) -> str:
    """What of a message goes into a log line."""
    return message.partition("\n")[0]


def _last_word(item: TrackedItem, failed_leg: str = "", reason: str = "", message: str = "") -> FinalOutcome:
    return FinalOutcome(
        item_id=item.item.id,
        ok=not failed_leg,
        payload=item.item.payload,
        receipts=item.receipts,
        seconds=item.seconds,
        failed_leg=failed_leg,
        reason=reason,
        message=message,
        attempts=item.attempts,
        node_id=item.node_id,
        actor_id=item.actor_id,
    )
