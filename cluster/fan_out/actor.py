"""The process in which a worker lives. All that runs on the far side of the cluster is in this file."""

import logging
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import cloudpickle

from cluster.errors import WorkerBrokenError
from cluster.fan_out.types import Outcome, Worker, WorkerFactory, WorkItem

_log = logging.getLogger(__name__)

MAX_MESSAGE_CHARS = 2000


@dataclass(frozen=True)
class Place:
    """Where an actor runs."""

    node_id: str
    actor_id: str
    pid: int


@dataclass(frozen=True)
class BatchReply:
    """What goes to the driver: outcomes without payloads, seconds of work, and why the worker is broken, if it is."""

    outcomes: tuple[Outcome, ...]
    seconds: float
    broken: str = ""


def display_name(leg: str) -> str:
    """Returns how Ray's dashboard names an actor of this leg."""
    return f"LegActor({leg})"


class LegActor:
    """Holds one worker of one leg. Its methods never raise because of an item.

    Args:
        leg: The leg's name, which Ray's dashboard shows.
    """

    def __init__(self, leg: str = "") -> None:
        self._leg = leg
        self._worker: Worker | None = None

    def __repr__(self) -> str:
        return display_name(self._leg)

    def place(self) -> Place:
        """Where this actor runs; answered as soon as the cluster has placed it."""
        context = ray.get_runtime_context()
        return Place(context.get_node_id(), context.get_actor_id() or "", os.getpid())

    def make_worker(self, factory: WorkerFactory) -> str:
        """Call the factory; returns the text of what it raised, or nothing."""
        try:
            self._worker = factory()
        except Exception as error:  # noqa: BLE001 - whatever a factory raises goes to the driver as text
            return describe_error(error)
        return ""

    def run(self, items: Sequence[WorkItem], with_payloads: bool, *upstream: Any) -> Any:
        """The reply alone, or the reply followed by each item's payload as a return value (an object) of its own."""
        if self._worker is None:
            raise AssertionError("a batch was sent before the worker was made")
        started = time.perf_counter()
        try:
            outcomes = run_batch(self._worker, items, upstream)
        except WorkerBrokenError as error:
            reply = BatchReply((), time.perf_counter() - started, broken=str(error) or "the worker gave no reason")
            return (reply, *[None] * len(items)) if with_payloads else reply
        if with_payloads:
            outcomes = [_with_sendable_payload(outcome) for outcome in outcomes]
        bare = tuple(replace(outcome, payload=None) for outcome in outcomes)
        reply = BatchReply(bare, time.perf_counter() - started)
        if not with_payloads:
            return reply
        return (reply, *[outcome.payload if outcome.ok else None for outcome in outcomes])


def run_batch(worker: Worker, items: Sequence[WorkItem], upstream: Sequence[Any]) -> list[Outcome]:
    """Outcomes of a batch. If the worker raises, each item is run alone, so that one cannot take the others along.

    Raises:
        WorkerBrokenError: As the worker raised it.
    """
    try:
        return _checked(items, worker.run(items, upstream))
    except WorkerBrokenError:
        raise
    except Exception as error:  # noqa: BLE001 - an item's fault becomes its outcome
        if len(items) == 1:
            _log.exception("worker raised item=%s", items[0].id)  # with its frames, in the log of this process
            message = describe_error(error)
            return [Outcome(items[0].id, ok=False, reason="worker_raised", message=message)]
    payloads = [upstream[index : index + 1] for index in range(len(items))]
    return [run_batch(worker, [item], payload)[0] for item, payload in zip(items, payloads, strict=True)]


def _with_sendable_payload(outcome: Outcome) -> Outcome:
    """The outcome, failed if its payload cannot be pickled.

    Ray would find that out itself, but in its way it spoils the return values of the items behind it too. Arrays are
    not copied by this trial: their buffers stay out of the pickle.
    """
    try:
        cloudpickle.dumps(outcome.payload, protocol=5, buffer_callback=lambda _: None)
    except Exception as error:  # noqa: BLE001 - pickling runs code of the payload, which may raise anything
        return replace(outcome, ok=False, payload=None, reason="worker_raised", message=describe_error(error))
    return outcome


def _checked(items: Sequence[WorkItem], outcomes: Sequence[Outcome]) -> list[Outcome]:
    asked, answered = [item.id for item in items], [outcome.item_id for outcome in outcomes]
    if asked != answered:
        raise ValueError(f"a worker must answer item by item, in order: asked for {asked}, answered {answered}")
    return list(outcomes)


def describe_error(error: BaseException) -> str:
    """Type, text and the innermost line of an exception, cut to a length that fits a log line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {error}"[:MAX_MESSAGE_CHARS] + where
