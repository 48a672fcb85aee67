"""Checks that come before a job is sent to a cluster. They know nothing of what the job does."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from cluster.capacity import ClusterCapacity, explain_never
from cluster.upload import MAX_UPLOAD_BYTES, Upload

_MIB = 1024**2


@dataclass(frozen=True)
class Finding:
    """One thing that is, or may be, wrong.

    Attributes:
        severity: An error keeps the job from being submitted; a warning does not.
        check: Short name of what was looked at, such as `upload`.
        message: Rule, value found, what to change.
    """

    severity: Literal["error", "warning"]
    check: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Need:
    """What one actor of a part of the job takes.

    Attributes:
        who: The part, as the user calls it.
        request: Resources by name.
    """

    who: str
    request: Mapping[str, float]


def check_upload(upload: Upload, max_bytes: int = MAX_UPLOAD_BYTES) -> list[Finding]:
    """Findings on the size of a working directory; Ray refuses what is larger than one of its messages may be."""
    if upload.num_bytes < max_bytes:
        return []
    heaviest = ", ".join(f"{name} {size / _MIB:.0f} MiB" for name, size in upload.largest())
    message = (
        f"{upload.folder} would upload {upload.num_bytes / _MIB:.0f} MiB in {len(upload.files)} files, and Ray takes "
        f"{max_bytes / _MIB:.0f} MiB; the heaviest are {heaviest}. Name them in .rayignore or with --exclude, or give "
        "a smaller --working-dir"
    )
    return [Finding("error", "upload", message)]


def check_capacity(needs: list[Need], capacity: ClusterCapacity) -> list[Finding]:
    """Findings on actors that no node of the cluster can hold, now or ever."""
    findings = []
    for need in needs:
        possible = capacity.can_ever_hold(need.request)
        if possible is False:
            message = f"{need.who} can never run here. {explain_never(need.request, capacity)}"
            findings.append(Finding("error", "resources", message))
        elif possible is None:
            message = f"{need.who} fits no node that is there now; whether an autoscaler adds one cannot be told"
            findings.append(Finding("warning", "resources", message))
    return findings


def check_versions(here: Mapping[str, str], there: Mapping[str, str], must_agree: frozenset[str]) -> list[Finding]:
    """Findings on packages whose versions differ between this machine and the cluster, or that are only here.

    Args:
        here: Version by package.
        there: The same on the cluster.
        must_agree: Packages whose difference is an error. They may be absent there: an uploaded folder has no version.
    """
    findings = []
    for name in sorted(here.keys() - there.keys() - must_agree):
        message = f"{name} {here[name]} is here and not on the cluster; install it in the image of the nodes"
        findings.append(Finding("error", "versions", message))
    for name in sorted(here.keys() & there.keys()):
        if here[name] != there[name]:
            severity: Literal["error", "warning"] = "error" if name in must_agree else "warning"
            message = f"{name} is {here[name]} here and {there[name]} on the cluster; install the same on both"
            findings.append(Finding(severity, "versions", message))
    return findings


def is_this_machine(address: str) -> bool:
    """Whether an address (`http://host:port`) is of this machine by its own name for itself."""
    host = urlsplit(address if "://" in address else f"http://{address}").hostname or ""
    if host in {"localhost", "auto", "local"}:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def findings_from(content: list[dict[str, Any]]) -> list[Finding]:
    """The findings that `Finding.as_dict` wrote."""
    return [Finding(entry["severity"], entry["check"], entry["message"]) for entry in content]
