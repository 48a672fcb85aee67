"""Jobs on a Ray cluster, through its job server: submit, look, follow, stop."""

import asyncio
import json
import logging
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.errors import ClusterError, JobExistsError
from cluster.upload import DEFAULT_EXCLUDES

_POLL_S = 0.5
# How long Ray waits between SIGTERM and SIGKILL. Its own 3 s are too few to end actors and to write what is buffered.
STOP_WAIT_S = 60
# They would report every upload and every closed connection on the terminal.
_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
_JOB_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@dataclass(frozen=True)
class JobRequest:
    """A job to submit.

    Attributes:
        submission_id: Unique on the cluster.
        command: Program and arguments; `python` is the cluster's.
        working_dir: Uploaded, and the job's current directory.
        metadata: Kept beside the job.
        env_vars: Variables of the driver and its actors.
        excludes: Patterns of what is not uploaded.
    """

    submission_id: str
    command: Sequence[str]
    working_dir: Path
    metadata: Mapping[str, str] = field(default_factory=dict)
    env_vars: Mapping[str, str] = field(default_factory=dict)
    excludes: Sequence[str] = DEFAULT_EXCLUDES


@dataclass(frozen=True)
class SubmittedJob:
    """A job as the job server knows it.

    Attributes:
        status: `PENDING`, `RUNNING`, `STOPPED`, `SUCCEEDED` or `FAILED`.
        exit_code: Of the driver, where it ended by itself.
        started_at: Unix time in seconds; 0 when unknown.
        ended_at: The same for the end.
    """

    submission_id: str
    status: str
    message: str = ""
    exit_code: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    started_at: float = 0.0
    ended_at: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in {"STOPPED", "SUCCEEDED", "FAILED"}


class JobServer:
    """A cluster's job server.

    Args:
        address: Of the dashboard, `http://host:8265`; None: from `RAY_API_SERVER_ADDRESS` or `RAY_ADDRESS`.

    Raises:
        ClusterError: It does not answer.
    """

    def __init__(self, address: str | None = None) -> None:
        from ray.job_submission import JobSubmissionClient

        self.address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or ""
        if not self.address:
            raise ClusterError("no cluster is named: give --address http://head:8265, or set RAY_API_SERVER_ADDRESS")
        try:
            self._client = JobSubmissionClient(self.address)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ClusterError(
                f"no job server answers at {self.address}: {_first_line(error)} It is the dashboard's address, "
                "http://head:8265 by default; from outside, forward the port (ray dashboard, kubectl port-forward)"
            ) from error
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)

    def submit(self, request: JobRequest) -> None:
        """Upload the working directory and start the job.

        Raises:
            JobExistsError: Its submission id is taken.
            ClusterError: The server refuses it.
        """
        runtime_env = {
            "working_dir": str(request.working_dir),
            "excludes": list(request.excludes),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S), **request.env_vars},
        }
        try:
            self._client.submit_job(
                entrypoint=shlex.join(request.command),
                submission_id=request.submission_id,
                runtime_env=runtime_env,
                metadata=dict(request.metadata),
            )
        except (RuntimeError, ValueError, OSError) as error:
            if "already exists" in str(error):
                raise JobExistsError(f"job {request.submission_id} exists already") from error
            raise ClusterError(f"{self.address} does not take the job: {_last_line(error)}") from error

    def jobs(self) -> list[SubmittedJob]:
        """All jobs that were submitted to this cluster and that it remembers, the oldest first."""
        # Ray also lists drivers, with the submission ids of jobs that were deleted.
        submissions = [details for details in self._call("list_jobs") if details.type.value == "SUBMISSION"]
        found = [_job(details) for details in submissions]
        return sorted(found, key=lambda job: job.started_at)

    def job(self, submission_id: str) -> SubmittedJob:
        """One job.

        Raises:
            ClusterError: The cluster does not know it.
        """
        return _job(self._call("get_job_info", submission_id))

    def logs(self, submission_id: str) -> str:
        """What the job has printed so far."""
        return str(self._call("get_job_logs", submission_id))

    def wait(self, submission_id: str, until: Callable[[SubmittedJob], bool], timeout_s: float) -> SubmittedJob:
        """The job once `until` holds, or as it is after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not until(job := self.job(submission_id)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return job

    def stop(self, submission_id: str, timeout_s: float = STOP_WAIT_S + 30) -> SubmittedJob:
        """Ask a job to end, and wait for it: SIGTERM, and SIGKILL when it has not ended in time.

        Ray takes a request to stop a job that has not started, and forgets it. So it is repeated once the job runs.

        Raises:
            ClusterError: It has not ended within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        asked_in = ""
        while not (job := self.job(submission_id)).has_ended:
            if job.status != asked_in:
                self._call("stop_job", submission_id)
                asked_in = job.status
            if time.monotonic() > deadline:
                raise ClusterError(f"job {submission_id} is still {job.status} {timeout_s:g} s after it was stopped")
            time.sleep(_POLL_S)
        return job

    def follow(self, submission_id: str, write: Callable[[str], None]) -> SubmittedJob:
        """The job at its end; `write` gets what it prints meanwhile, from its beginning.

        A connection that breaks is made again, and what was written is not repeated.
        """
        num_written = 0
        while True:
            job = self.wait(submission_id, lambda job: job.status != "PENDING", timeout_s=float("inf"))
            num_written = asyncio.run(self._tail(submission_id, num_written, write))
            job = self.job(submission_id)
            if job.has_ended:
                write(self.logs(submission_id)[num_written:])
                return job
            time.sleep(_POLL_S)

    async def _tail(self, submission_id: str, num_written: int, write: Callable[[str], None]) -> int:
        from aiohttp import ClientError

        num_seen = 0
        try:
            async for text in self._client.tail_job_logs(submission_id):
                fresh = text[max(num_written - num_seen, 0) :]
                num_seen += len(text)
                if fresh:
                    write(fresh)
        except (ClientError, TimeoutError, RuntimeError, OSError):
            pass  # the caller looks whether the job has ended, and connects again
        return max(num_written, num_seen)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._client, name)(*arguments)
        except (RuntimeError, OSError) as error:
            raise ClusterError(f"{self.address}: {_last_line(error)}") from error


def own_submission_id(environment: Mapping[str, str]) -> str:
    """The submission id of the job whose driver has this environment; empty outside of jobs."""
    try:
        config = json.loads(environment.get(_JOB_CONFIG_VARIABLE, ""))
        return str(config["metadata"]["job_submission_id"])
    except (ValueError, KeyError, TypeError):
        return ""


def _job(details: Any) -> SubmittedJob:
    return SubmittedJob(
        submission_id=details.submission_id or "",
        status=str(getattr(details.status, "value", details.status)),
        message=details.message or "",
        exit_code=details.driver_exit_code,
        metadata=dict(details.metadata or {}),
        started_at=(details.start_time or 0) / 1000,
        ended_at=(details.end_time or 0) / 1000,
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]


def _last_line(error: BaseException) -> str:
    """Ray's server answers with a traceback; its last line says what is wrong."""
    lines = [line for line in str(error).replace("\\n", "\n").splitlines() if line.strip(' ".')]
    return lines[-1].strip() if lines else type(error).__name__
