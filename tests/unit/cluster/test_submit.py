import json
from types import SimpleNamespace

import pytest

from cluster.errors import ClusterError
from cluster.submit import JobServer, own_submission_id


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (json.dumps({"metadata": {"job_submission_id": "wsss-1"}}), "wsss-1"),
        (json.dumps({"metadata": {}}), ""),
        ("", ""),
        ("[]", ""),
    ],
)
def test_a_driver_knows_its_submission(value, expected):
    assert own_submission_id({"RAY_JOB_CONFIG_JSON_ENV_VAR": value}) == expected


def test_no_address(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ClusterError, match="--address http://head:8265"):
        JobServer()


def test_nobody_answers():
    with pytest.raises(ClusterError, match=r"no job server answers at http://127\.0\.0\.1:9"):
        JobServer("http://127.0.0.1:9")


class Pending:
    """A job server that takes a request to stop a job that has not started, and forgets it, as Ray's does."""

    def __init__(self):
        self.states = iter(["PENDING", "PENDING", "RUNNING"])
        self.state, self.asked_in = "PENDING", []

    def get_job_info(self, name):
        if self.state != "STOPPED":
            self.state = next(self.states, self.state)
        return SimpleNamespace(
            submission_id=name, status=self.state, message="", driver_exit_code=None, metadata={}, start_time=1,
            end_time=None,
        )  # fmt: skip

    def stop_job(self, name):
        self.asked_in.append(self.state)
        if self.state == "RUNNING":
            self.state = "STOPPED"


def test_a_job_that_has_not_started_is_asked_again_once_it_runs(monkeypatch):
    server = JobServer.__new__(JobServer)
    server.address, server._client = "here", Pending()
    monkeypatch.setattr("cluster.submit._POLL_S", 0.0)
    assert server.stop("job").status == "STOPPED"
    assert server._client.asked_in == ["PENDING", "RUNNING"]
