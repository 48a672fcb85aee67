"""Actors on Ray. All that the fan-out asks of Ray on the driver's side is in this file and in `cluster/nodes.py`."""

import itertools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import ray
from ray import exceptions as ray_errors

from cluster.errors import ClusterError
from cluster.fan_out.actor import MAX_MESSAGE_CHARS, BatchReply, LegActor, Place, display_name
from cluster.fan_out.actor_environment import actor_environment
from cluster.fan_out.backend import (
    ActorLost,
    ActorPlaced,
    BatchDone,
    BatchLost,
    Event,
    NodesView,
    WorkerNotMade,
    WorkerReady,
)
from cluster.fan_out.types import Leg, WorkItem
from cluster.nodes import nodes_view

# A dead actor's other calls fail within milliseconds of the first; what is not back after this is given up.
_LAST_WORDS_S = 1.0
_PROBE_S = 2.0
# Ray's memory monitor kills a process when its node runs out of memory; that error is not one of the actor errors.
_ACTOR_GONE = (ray_errors.RayActorError, ray_errors.OutOfMemoryError)


class _Call(NamedTuple):
    """A reference that is waited for: what was asked of which actor, and the payload references beside it."""

    actor: int
    kind: str  # "place", "make" or "run"
    batch: int = -1
    payloads: tuple[Any, ...] = ()


class RayBackend:
    """The backend of `cluster.fan_out.backend` on a connected Ray.

    Args:
        legs: The chain; actors of all but the last return payloads.

    Raises:
        ClusterError: A leg's factory cannot be pickled.
    """

    def __init__(self, legs: Sequence[Leg]) -> None:
        self._legs = legs
        self._factories = [_put_factory(leg) for leg in legs]
        self._actor_class = ray.remote(LegActor)
        self._numbers = itertools.count()
        self._handles: dict[int, Any] = {}
        self._leg_of: dict[int, int] = {}
        self._calls: dict[Any, _Call] = {}

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def create(self, leg: int) -> int:
        """Ask Ray for an actor: it is told to say where it is, then to make its worker."""
        number, resources = next(self._numbers), self._legs[leg].resources
        handle = self._actor_class.options(
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            memory=resources.memory_bytes,
            resources=dict(resources.custom) or None,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": actor_environment(resources, self._legs[leg].env_vars)},
        ).remote(self._legs[leg].name)
        self._handles[number], self._leg_of[number] = handle, leg
        self._calls[handle.place.remote()] = _Call(number, "place")
        self._calls[handle.make_worker.remote(self._factories[leg])] = _Call(number, "make")
        return number

    def submit(self, actor: int, batch: int, items: Sequence[WorkItem], upstream: Sequence[Any]) -> None:
        """Queue a batch: one return value for the driver, and one an item for the next leg."""
        with_payloads = self._leg_of[actor] + 1 < len(self._legs)
        num_returns = 1 + len(items) if with_payloads else 1
        name = f"{display_name(self._legs[self._leg_of[actor]].name)}.run"
        run = self._handles[actor].run.options(num_returns=num_returns, name=name)
        refs = run.remote(list(items), with_payloads, *upstream)
        reply, *payloads = refs if with_payloads else [refs]
        self._calls[reply] = _Call(actor, "run", batch, tuple(payloads))

    def wait(self, timeout_s: float) -> list[Event]:
        """Events of every call that is ready."""
        if not self._calls:
            time.sleep(timeout_s)
            return []
        refs = list(self._calls)
        ready, _ = ray.wait(refs, num_returns=1, timeout=timeout_s, fetch_local=False)
        if ready and len(refs) > 1:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        return [event for ref in ready for event in self._collect(ref)]

    def kill(self, actor: int) -> None:
        """End the actor's process and forget its calls."""
        handle = self._handles.pop(actor, None)
        if handle is not None:
            ray.kill(handle, no_restart=True)
        self._calls = {ref: call for ref, call in self._calls.items() if call.actor != actor}

    def nodes(self) -> NodesView:
        """The nodes as Ray's control store sees them."""
        return nodes_view()

    def close(self) -> None:
        """End every actor that is left."""
        self._calls.clear()
        for actor in list(self._handles):
            self.kill(actor)

    def _collect(self, ref: Any) -> list[Event]:
        """Events of a ready reference; for a lost actor, all that it still said, then its loss."""
        call = self._calls.pop(ref, None)
        if call is None:
            return []  # its actor was lost or killed by an earlier event of the same round
        try:
            return [self._answer(call, ray.get(ref))]
        except _ACTOR_GONE as error:
            return self._last_words(call.actor, error)
        except ray_errors.RayError as error:
            return [self._failure(call, error)]

    def _answer(self, call: _Call, value: Any) -> Event:
        if isinstance(value, Place):
            return ActorPlaced(call.actor, value.node_id, value.actor_id, value.pid)
        if isinstance(value, BatchReply):
            if value.broken:
                self.kill(call.actor)
                return ActorLost(call.actor, value.broken, broken=True)
            return BatchDone(call.actor, call.batch, value.outcomes, value.seconds, call.payloads)
        return WorkerNotMade(call.actor, value) if value else WorkerReady(call.actor)

    def _failure(self, call: _Call, error: ray_errors.RayError) -> Event:
        """The event of a call that failed although its actor may live."""
        message = str(error)[-MAX_MESSAGE_CHARS:]
        if call.kind != "run":
            return WorkerNotMade(call.actor, message)
        lost = ray_errors.ObjectLostError
        upstream_lost = isinstance(error, lost) or isinstance(getattr(error, "cause", None), lost)
        return BatchLost(call.actor, call.batch, upstream_lost, message)

    def _last_words(self, actor: int, error: ray_errors.RayError) -> list[Event]:
        """What a lost actor had answered in time, in order, and its loss."""
        unreachable, error = self._probe(actor, error)
        rest = {ref: call for ref, call in self._calls.items() if call.actor == actor}
        ready = set(ray.wait(list(rest), num_returns=len(rest), timeout=_LAST_WORDS_S)[0]) if rest else set()
        events: list[Event] = []
        for ref, call in rest.items():
            if ref in ready and (event := self._answer_if_any(call, ref)) is not None:
                events.append(event)
        self.kill(actor)
        message = str(error)[:MAX_MESSAGE_CHARS]
        return [
            *events,
            ActorLost(actor, message, preempted=getattr(error, "preempted", False), unreachable=unreachable),
        ]

    def _answer_if_any(self, call: _Call, ref: Any) -> Event | None:
        try:
            return self._answer(call, ray.get(ref))
        except ray_errors.RayError:
            return None

    def _probe(self, actor: int, error: ray_errors.RayError) -> tuple[bool, ray_errors.RayError]:
        """Whether an actor is out of reach rather than dead: right after a death, Ray may not know which."""
        if not isinstance(error, ray_errors.ActorUnavailableError):
            return False, error
        try:
            ray.get(self._handles[actor].place.remote(), timeout=_PROBE_S)
        except (ray_errors.ActorDiedError, ray_errors.OutOfMemoryError) as death:
            return False, death
        except ray_errors.RayError:
            return True, error
        return True, error


def _put_factory(leg: Leg) -> Any:
    try:
        return ray.put(leg.factory)
    except (TypeError, AttributeError, ValueError) as error:
        raise ClusterError(f"leg {leg.name!r}: its factory cannot be sent to an actor: {error}") from error
