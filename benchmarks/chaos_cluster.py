"""A Ray cluster of processes for `benchmarks.chaos`, and what strikes it: a seeded sequence of kills."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.ray_head import RayHead, RayNode

# Batches that an actor holds at a time (`Leg.max_in_flight_per_actor`), here of one item each.
IN_FLIGHT_PER_WORKER = 2
_REPLACED_AFTER_S = 5.0
_DRAIN_S = 30


class Cluster:
    """A head that takes no work, and nodes of one core each; a node that is gone is replaced some seconds later.

    Args:
        num_nodes: Nodes beside the head.
    """

    def __init__(self, num_nodes: int) -> None:
        # Ray's workers give way to everything else on a machine; here that would measure what else runs.
        self.head = RayHead(num_cpus=0, environment={"RAY_worker_niceness": "0"})
        self.nodes: list[RayNode] = []
        self._missing_since: list[float] = []
        try:
            for _ in range(num_nodes):
                self.nodes.append(self._new_node())
                self.nodes[-1].wait_until_joined()
        except BaseException:
            self.close()
            raise

    def replace_lost(self) -> None:
        """Starts nodes for those that went some seconds ago."""
        gone = [node for node in self.nodes if node.process.poll() is not None]
        for node in gone:
            node.kill()  # what is left of it
            self.nodes.remove(node)
            self._missing_since.append(time.monotonic())
        while self._missing_since and time.monotonic() - self._missing_since[0] > _REPLACED_AFTER_S:
            self._missing_since.pop(0)
            self.nodes.append(self._new_node())

    def workers(self) -> list[int]:
        """Returns the process ids of the actors on all nodes."""
        return [pid for node in self.nodes for pid in node.workers()]

    def close(self) -> None:
        """Ends everything."""
        for node in self.nodes:
            node.kill()
        self.head.close()

    def _new_node(self) -> RayNode:
        return self.head.add_node(num_cpus=1, drain_s=_DRAIN_S)


@dataclass
class Killer:
    """Kills by -9 at random moments: the next strike of a kind comes after 0.5 to 1.5 times its mean interval.

    Attributes:
        every_s: Mean seconds between strikes, by kind: `actor`, `node`, `node_with_notice` (SIGTERM, as before a spot
            node goes), `driver`.
        counts: Strikes so far, by kind.
        num_in_flight: Items that the processes killed so far can have had in hand; no more may be redone.
    """

    cluster: Cluster
    random: random.Random
    every_s: Mapping[str, float]
    counts: Counter[str] = field(default_factory=Counter)
    num_in_flight: int = 0
    _due: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """Sets the clocks of all kinds."""
        self._due = {kind: self._after(kind) for kind in self.every_s}

    def strike(self, driver: subprocess.Popen[bytes]) -> None:
        """Does what is due."""
        for kind, due in self._due.items():
            if time.monotonic() < due:
                continue
            with contextlib.suppress(ProcessLookupError):  # what was struck had just ended by itself
                if self._strike(kind, driver):
                    self.counts[kind] += 1
                    self._due[kind] = self._after(kind)

    def _after(self, kind: str) -> float:
        return time.monotonic() + self.every_s[kind] * self.random.uniform(0.5, 1.5)

    def _strike(self, kind: str, driver: subprocess.Popen[bytes]) -> bool:
        """Returns whether there was anything to strike."""
        workers = self.cluster.workers()
        if not workers:
            return False
        if kind == "driver":
            os.killpg(driver.pid, signal.SIGKILL)
            self._count(len(workers))
        elif kind == "actor":
            os.kill(self.random.choice(sorted(workers)), signal.SIGKILL)
            self._count(1)
        else:
            staying = [node for node in self.cluster.nodes if not node.has_notice]
            if not staying:
                return False
            node = self.random.choice(staying)
            self._count(len(node.workers()))
            node.kill() if kind == "node" else node.give_notice()
        return True

    def _count(self, num_workers: int) -> None:
        self.num_in_flight += IN_FLIGHT_PER_WORKER * num_workers
