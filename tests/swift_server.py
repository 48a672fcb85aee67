"""OpenStack Swift as a server for tests: installed on demand, started as a process of its own."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[1]
_INSTALL = _REPOSITORY / "requirements" / "install_swift.sh"


@contextlib.contextmanager
def swift_server(folder: Path) -> Iterator[str]:
    """The endpoint of a Swift that keeps its data below a folder; skips the test where Swift cannot run."""
    python = _python_of_swift()
    _check_extended_attributes(folder)
    command = [python, "-W", "ignore", Path(__file__).with_name("swift_process.py"), folder / "swift"]
    with (folder / "swift.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().decode().strip()
        if not port:
            raise RuntimeError(f"Swift ended at once:\n{(folder / 'swift.log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _python_of_swift() -> Path:
    venv = Path(os.environ.get("SWIFT_VENV") or _REPOSITORY / ".venv-swift")
    installed = subprocess.run(["sh", _INSTALL, venv], capture_output=True, text=True, timeout=280, check=False)
    if installed.returncode or not (venv / ".installed").exists():
        pytest.skip(f"OpenStack Swift cannot be installed here: {installed.stderr.strip()[-300:]}")
    return venv / "bin" / "python"


def _check_extended_attributes(folder: Path) -> None:
    probe = folder / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift", b"x")
    except OSError as error:
        pytest.skip(f"OpenStack Swift needs extended attributes in {folder} ({error}); set TMPDIR to another disk")
