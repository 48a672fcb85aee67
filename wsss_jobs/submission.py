"""From a recipe to a job on a cluster: preflight, then submit, or find that it runs already."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.errors import ClusterError, JobExistsError
from cluster.preflight import Finding, check_upload, check_versions, findings_from, is_this_machine
from cluster.submit import JobRequest, JobServer, SubmittedJob
from cluster.upload import DEFAULT_EXCLUDES, MAX_UPLOAD_BYTES, measure_upload
from wsss_jobs.config.recipe import Recipe
from wsss_jobs.errors import ConfigError
from wsss_jobs.job_identity import JobIdentity, identity_from, identity_of, next_number
from wsss_jobs.preflight import check_recipe, check_recipe_file, check_store_place
from wsss_jobs.run_store import forwarded_environment, open_run_store
from wsss_jobs.versions import installed_versions

REPORT_PREFIX = "WSSS_PREFLIGHT "
_PROBE_TIMEOUT_S = 180.0
# The job's results are those of the service's version; other differences are worth a word.
_MUST_AGREE = frozenset({"wsss-jobs"})


@dataclass(frozen=True)
class Submission:
    """What a user asks to be submitted.

    Attributes:
        recipe: A file, or the name of a shipped recipe.
        overrides: `--set` values.
        arguments: Further arguments of `wsss run`.
        env_vars: Variables for the job.
        excludes: Patterns of what is not uploaded, beside the usual ones.
    """

    recipe: str
    overrides: Sequence[str] = ()
    arguments: Sequence[str] = ()
    working_dir: Path = Path()
    env_vars: Mapping[str, str] = field(default_factory=dict)
    excludes: Sequence[str] = ()
    max_upload_bytes: int = MAX_UPLOAD_BYTES

    @property
    def all_excludes(self) -> tuple[str, ...]:
        """What is not uploaded."""
        return (*DEFAULT_EXCLUDES, *self.excludes)

    @property
    def all_env_vars(self) -> dict[str, str]:
        """The job's variables."""
        return forwarded_environment() | dict(self.env_vars)

    def command(self, verb: str) -> list[str]:
        """The command of `verb` on the cluster, with the recipe's path as it is below the working directory."""
        path = Path(self.recipe)
        recipe = self.recipe
        if path.is_file() and path.suffix in {".yaml", ".yml"}:
            recipe = os.path.relpath(path.resolve(), self.working_dir.resolve())
        overrides = [part for override in self.overrides for part in ("--set", override)]
        return ["python", "-m", "wsss_jobs", verb, recipe, *overrides]


def check_here(submission: Submission, address: str) -> tuple[Recipe | None, list[Finding]]:
    """Returns the recipe and all that can be found without the cluster."""
    upload = measure_upload(submission.working_dir, submission.all_excludes)
    findings = check_upload(upload, submission.max_upload_bytes)
    recipe, of_recipe = check_recipe(submission.recipe, submission.overrides)
    findings += of_recipe + check_recipe_file(submission.recipe, upload)
    if recipe is not None:
        findings += check_store_place(recipe.store.uri, is_this_machine=is_this_machine(address))
    return recipe, findings


def check_there(server: JobServer, submission: Submission, identity: JobIdentity) -> list[Finding]:
    """Returns what a small job on the cluster finds: whether the package is there, versions, store, data, resources."""
    name = f"{identity.submission_id(0)}-preflight-{os.urandom(3).hex()}"
    request = JobRequest(
        submission_id=name,
        command=[*submission.command("preflight"), "--json"],
        working_dir=submission.working_dir,
        env_vars=submission.all_env_vars,
        excludes=submission.all_excludes,
    )
    server.submit(request)
    job = server.wait(name, lambda job: job.has_ended, _PROBE_TIMEOUT_S)
    return _findings_of(job, server.logs(name))


def _findings_of(job: SubmittedJob, logs: str) -> list[Finding]:
    reports = [line.removeprefix(REPORT_PREFIX) for line in logs.splitlines() if line.startswith(REPORT_PREFIX)]
    if reports:
        report = json.loads(reports[-1])
        return findings_from(report["findings"]) + check_versions(installed_versions(), report["versions"], _MUST_AGREE)
    if not job.has_ended:
        message = f"a small job on the cluster is still {job.status} after {_PROBE_TIMEOUT_S:g} s; is the head busy?"
        return [Finding("error", "cluster", message)]
    if "No module named" in logs:
        message = (
            f"the cluster cannot run wsss_jobs ({_last_line(logs)}): install it in the image of the nodes, or submit "
            "with a --working-dir that holds it; `python` is the one on the head's PATH"
        )
        return [Finding("error", "packages", message)]
    return [Finding("error", "cluster", f"a small job on the cluster failed: {_last_line(logs) or job.message}")]


def find_running(server: JobServer, identity: JobIdentity) -> SubmittedJob | None:
    """Returns the job that is at this recipe in this store now, if any.

    Raises:
        ClusterError: One is, with other settings.
    """
    for job in server.jobs():
        theirs = identity_from(job.metadata)
        if job.has_ended or theirs is None or theirs.work != identity.work:
            continue
        if theirs.recipe_sha256 == identity.recipe_sha256:
            return job
        raise ClusterError(
            f"job {job.submission_id} is at recipe {identity.recipe!r} in {identity.store} with other settings. Stop "
            f"it first (wsss stop {job.submission_id} --address {server.address}), or give this recipe another name"
        )
    return None


def identity_on_cluster(recipe: Recipe) -> JobIdentity:
    """Returns the identity that the job of a recipe has."""
    return identity_of(recipe, open_run_store(recipe.store, recipe.run).uri)


def start(server: JobServer, submission: Submission, identity: JobIdentity) -> tuple[str, bool]:
    """Returns the submission id of the job, and whether it is new; another's submission of the same moment counts."""
    number = next_number(identity, (job.submission_id for job in server.jobs()))
    request = JobRequest(
        submission_id=identity.submission_id(number),
        command=[*submission.command("run"), *submission.arguments],
        working_dir=submission.working_dir,
        metadata=identity.as_metadata(),
        env_vars=submission.all_env_vars,
        excludes=submission.all_excludes,
    )
    try:
        server.submit(request)
    except JobExistsError:
        return request.submission_id, False
    return request.submission_id, True


def find_jobs(server: JobServer, target: str, load: Callable[[str], Recipe]) -> list[SubmittedJob]:
    """Returns the jobs that `target` means, the latest last: a submission id, a recipe file, a run, a recipe's name.

    Args:
        target: What the user wrote.
        load: Reads a recipe file.

    Raises:
        ConfigError: It means none.
    """
    found = _jobs_meant(server.jobs(), target, load)
    if not found:
        raise ConfigError(f"{target!r} is no submission id, run or recipe of a job at {server.address}")
    return found


def _jobs_meant(jobs: Sequence[SubmittedJob], target: str, load: Callable[[str], Recipe]) -> list[SubmittedJob]:
    exact = [job for job in jobs if job.submission_id == target]
    if exact:
        return exact
    known = [(job, identity) for job in jobs if (identity := identity_from(job.metadata)) is not None]
    if Path(target).suffix in {".yaml", ".yml"}:
        work = identity_on_cluster(load(target)).work
        return [job for job, identity in known if identity.work == work]
    return [job for job, identity in known if target in {identity.run, identity.recipe}]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def print_report(findings: Sequence[Finding]) -> None:
    """Prints findings and versions as the one line that `check_there` looks for."""
    content = {"findings": [finding.as_dict() for finding in findings], "versions": installed_versions()}
    sys.stdout.write(f"{REPORT_PREFIX}{json.dumps(content)}\n")
    sys.stdout.flush()
