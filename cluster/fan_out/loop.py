"""The loop of a fan-out: read ahead, size the pools, send, listen, watch the clock."""

from cluster.fan_out.backend import ActorBackend
from cluster.fan_out.listening import Listener
from cluster.fan_out.observers import Observers
from cluster.fan_out.pools import PoolManager
from cluster.fan_out.reporting import report
from cluster.fan_out.sending import Sender, read_ahead
from cluster.fan_out.state import RunState

TICK_S = 0.1
NODES_INTERVAL_S = 1.0


class FanOutLoop:
    """Drives one fan-out to its end.

    Args:
        state: The run, at its beginning.
        backend: The actors.
        observers: Who is told.
    """

    def __init__(self, state: RunState, backend: ActorBackend, observers: Observers) -> None:
        self._state = state
        self._backend = backend
        self._observers = observers
        self._sender = Sender(state, backend)
        self._listener = Listener(state, backend, observers)
        self._pools = PoolManager(state, backend)
        self._nodes_at = self._pools_at = self._progress_at = float("-inf")

    def run(self) -> bool:
        """Run to the end; False when `should_stop` ended it early."""
        while True:
            read_ahead(self._state)
            is_finished = self._state.is_finished
            if is_finished or self._observers.should_stop():
                self._report()
                return is_finished
            self._keep_house()
            self._sender.send_all()
            self._listen()

    def _listen(self) -> None:
        asked_at = self._backend.now()
        for event in self._backend.wait(TICK_S):
            self._listener.handle(event)
        self._listener.enforce_deadlines(asked_at)

    def _keep_house(self) -> None:
        """What is due by the clock: the cluster's nodes, pool sizes, progress."""
        now = self._backend.now()
        if now - self._nodes_at >= NODES_INTERVAL_S:
            self._nodes_at = now
            self._listener.look_at_nodes()
        if now - self._pools_at >= TICK_S:
            self._pools_at = now
            self._pools.adjust()
        if now - self._progress_at >= self._state.policy.progress_interval_s:
            self._progress_at = now
            self._report()

    def _report(self) -> None:
        report(self._state, self._observers, self._backend.now())
