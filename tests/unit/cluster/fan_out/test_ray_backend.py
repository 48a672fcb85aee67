"""How errors of Ray become events; real deaths are in tests/ray."""

import pytest
from ray import exceptions as ray_errors

from cluster.fan_out import ray_backend
from cluster.fan_out.backend import ActorLost, BatchLost


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ray_errors.ActorDiedError(), ActorLost),
        (ray_errors.OutOfMemoryError("killed due to the node running low on memory"), ActorLost),
        (ray_errors.ObjectLostError("ab" * 28, "", ""), BatchLost),
    ],
    ids=["died", "out of memory", "payload lost"],
)
def test_a_process_that_ray_killed_for_its_memory_is_a_lost_actor(monkeypatch, error, expected):
    def get(ref, timeout=None):
        raise error

    backend = ray_backend.RayBackend.__new__(ray_backend.RayBackend)
    backend._calls, backend._handles = {"ref": ray_backend._Call(7, "run", 3)}, {}
    monkeypatch.setattr(ray_backend.ray, "get", get)
    [event] = backend._collect("ref")
    assert isinstance(event, expected)
    assert event.actor == 7
    assert backend._calls == {}
