"""What a private Ray on this machine needs: a short folder, a sized object store, an environment."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cluster.errors import ClusterError

_MIB = 1024**2
_FOLDER_PREFIX = "wsss-ray-"
# A Unix socket's path has at most 107 bytes, and Ray appends up to 64 of its own to the folder's.
_MAX_FOLDER_CHARS = 43


def object_store_bytes(memory_bytes: int, free_shm_bytes: int) -> int:
    """Bytes for the object store: a quarter of the memory, 128 MiB to 4 GiB, if possible within shared memory.

    What is in flight is bounded, so more would not be used. Where shared memory is tiny (64 MiB is a container's
    default), it does not count: Ray then keeps the store in a file.

    Args:
        memory_bytes: What this process may use.
        free_shm_bytes: Free space of `/dev/shm`; 0 where there is none.
    """
    wanted = min(max(memory_bytes // 4, 128 * _MIB), 4096 * _MIB)
    usable_shm = int(free_shm_bytes * 0.8)
    return min(wanted, usable_shm) if usable_shm >= 128 * _MIB else wanted


def usable_memory_bytes() -> int:
    """Memory of this machine, or of this container if that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit_file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            return min(physical, int(Path(limit_file).read_text(encoding="ascii")))
    return physical


def free_shm_bytes() -> int:
    """Free space of shared memory; 0 where there is none."""
    try:
        return shutil.disk_usage("/dev/shm").free  # noqa: S108 - asked for its size, nothing is written
    except OSError:
        return 0


def make_session_folder() -> Path:
    """A new folder for one session, with a path short enough for Ray's sockets.

    Folders of sessions whose process was killed are removed on the way.

    Raises:
        ClusterError: No folder can be made.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) + len(_FOLDER_PREFIX) + 20 > _MAX_FOLDER_CHARS:
        base = Path("/tmp")  # noqa: S108 - the configured folder is too deep for a socket; mkdtemp below is private
    _remove_stale_folders(base)
    try:
        return Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-", dir=base))
    except OSError as error:
        raise ClusterError(f"cannot make a folder for a local Ray under {base}: {error}; set TMPDIR") from error


def _remove_stale_folders(base: Path) -> None:
    for folder in base.glob(f"{_FOLDER_PREFIX}*-*"):
        pid = folder.name.removeprefix(_FOLDER_PREFIX).split("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def has_dashboard() -> bool:
    """True when the packages of Ray's dashboard are installed (`ray[default]`)."""
    return all(importlib.util.find_spec(name) for name in ("aiohttp_cors", "opencensus", "prometheus_client"))


def local_variables(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Variables that Ray's processes should inherit, where the user has not set them.

    Workers import our packages from where the driver did; no usage report leaves the machine; actors without GPU see
    none. Ray protects a local cluster by a token in the home folder; where that cannot be written, by one in memory.

    Args:
        environment: The environment of this process.
        home: The user's home folder.
    """
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
    if not os.access(home, os.W_OK) and environment.get("RAY_AUTH_MODE") != "disabled":
        wanted["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    variables = {name: value for name, value in wanted.items() if name not in environment}
    root = Path(__file__).resolve().parents[1]
    if "site-packages" not in root.parts:
        known = environment.get("PYTHONPATH")
        variables["PYTHONPATH"] = os.pathsep.join([str(root), known] if known else [str(root)])
    return variables


@contextlib.contextmanager
def environment_with(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
