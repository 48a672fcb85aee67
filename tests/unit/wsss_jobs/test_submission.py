"""Two that submit the same run at the same moment: one of them starts it, and both are told which job it is."""

import pytest

from cluster.errors import ClusterError, JobExistsError
from cluster.submit import SubmittedJob
from wsss_jobs.job_identity import JobIdentity
from wsss_jobs.submission import Submission, find_running, start

IDENTITY = JobIdentity("s3://bucket/runs/voc", "voc", "wsgcn", "ab" * 32)


class Server:
    """A job server that lists its jobs as they were before the other one's was taken."""

    address = "http://head:8265"

    def __init__(self, listed=()):
        self.listed, self.taken = list(listed), set()

    def jobs(self):
        return self.listed

    def submit(self, request):
        if request.submission_id in self.taken:
            raise JobExistsError(request.submission_id)
        self.taken.add(request.submission_id)


@pytest.fixture
def submission(tmp_path):
    return Submission("wsgcn_i_voc", working_dir=tmp_path)


def test_the_second_of_two_at_once_gets_the_first_one_s_job(submission):
    server = Server()
    first, second = start(server, submission, IDENTITY), start(server, submission, IDENTITY)
    assert first == (IDENTITY.submission_id(1), True)
    assert second == (IDENTITY.submission_id(1), False)


def test_a_job_that_runs_is_found_and_other_settings_are_refused():
    job = SubmittedJob(IDENTITY.submission_id(1), "RUNNING", metadata=IDENTITY.as_metadata())
    assert find_running(Server([job]), IDENTITY) is job
    other = JobIdentity(IDENTITY.store, IDENTITY.run, IDENTITY.recipe, "cd" * 32)
    with pytest.raises(ClusterError, match="with other settings"):
        find_running(Server([job]), other)
    ended = SubmittedJob(IDENTITY.submission_id(1), "FAILED", metadata=IDENTITY.as_metadata())
    assert find_running(Server([ended]), IDENTITY) is None
