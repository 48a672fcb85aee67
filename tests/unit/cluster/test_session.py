"""Addresses that cannot be joined are explained before Ray tries."""

import socket

import pytest

from cluster.errors import ClusterError
from cluster.session import connect


@pytest.fixture(autouse=True)
def _unconnected(monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:8265", r"http is for submitting jobs.*host:port"),
        ("ray://127.0.0.1:10001", r"remote client.*host:port"),
    ],
)
def test_other_kinds_of_address_are_explained(address, message):
    with pytest.raises(ClusterError, match=message):
        connect(address)


def test_nothing_listens_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ClusterError, match=rf"cannot connect to the Ray cluster at 127\.0\.0\.1:{port}"):
        connect(f"127.0.0.1:{port}")


def test_the_address_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "https://head:8265")
    with pytest.raises(ClusterError, match="https://head:8265"):
        connect()
