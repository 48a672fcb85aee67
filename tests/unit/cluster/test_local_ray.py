import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.local_ray import (
    environment_with,
    free_shm_bytes,
    local_variables,
    make_session_folder,
    object_store_bytes,
    usable_memory_bytes,
)

MIB = 1024**2


@pytest.mark.parametrize(
    ("memory_mib", "shm_mib", "store_mib"),
    [
        (4000, 4000, 1000),  # a quarter
        (256, 4000, 128),  # not less than 128
        (64_000, 60_000, 4096),  # not more than 4 GiB
        (16_000, 1000, 800),  # within shared memory
        (16_000, 64, 4000),  # a container's tiny shared memory does not count
        (16_000, 0, 4000),
    ],
)
def test_object_store_bytes(memory_mib, shm_mib, store_mib):
    assert object_store_bytes(memory_mib * MIB, shm_mib * MIB) == store_mib * MIB


@given(st.integers(0, 2**42), st.integers(0, 2**42))
def test_object_store_stays_in_its_bounds(memory_bytes, shm_bytes):
    # 80 % of the smallest shared memory that counts
    assert 100 * MIB < object_store_bytes(memory_bytes, shm_bytes) <= 4096 * MIB


def test_this_machine_has_memory():
    assert 64 * MIB < usable_memory_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert free_shm_bytes() >= 0


def test_a_session_folder_is_short_enough_for_a_socket(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    folder = make_session_folder()
    try:
        socket = f"{folder}/session_2026-11-21_07-03-19_475744_4194304/sockets/plasma_store"
        assert len(socket) <= 107
        assert folder.stat().st_mode & 0o077 == 0
    finally:
        folder.rmdir()


def test_folders_of_dead_processes_are_swept_and_others_kept(monkeypatch):
    import tempfile

    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as base:
        monkeypatch.setattr("tempfile.tempdir", base)
        # No process has a number beyond the kernel's highest.
        stale, living, foreign = (
            Path(base, f"wsss-ray-{name}") for name in ("99999999-a", f"{os.getpid()}-b", "notes-c")
        )
        for folder in (stale, living, foreign):
            folder.mkdir()
        make_session_folder()
        assert not stale.exists()
        assert living.exists()
        assert foreign.exists()


def test_variables_leave_what_the_user_has_set(tmp_path):
    root = str(Path(__file__).parents[3])
    assert local_variables({"RAY_USAGE_STATS_ENABLED": "1"}, tmp_path) == {
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
        "PYTHONPATH": root,
    }
    assert local_variables({"PYTHONPATH": "/mine"}, tmp_path)["PYTHONPATH"] == f"{root}:/mine"


def test_without_a_writable_home_the_token_stays_in_memory():
    nowhere = Path("/nonexistent/home")
    variables = local_variables({}, nowhere)
    assert len(variables["RAY_AUTH_TOKEN"]) >= 32
    assert variables["RAY_AUTH_TOKEN"] != local_variables({}, nowhere)["RAY_AUTH_TOKEN"]
    assert "RAY_AUTH_TOKEN" not in local_variables({"RAY_AUTH_MODE": "disabled"}, nowhere)


def test_environment_is_restored(monkeypatch):
    monkeypatch.setenv("A_KNOWN_ONE", "before")
    monkeypatch.delenv("A_NEW_ONE", raising=False)
    with environment_with({"A_KNOWN_ONE": "during", "A_NEW_ONE": "during"}):
        assert (os.environ["A_KNOWN_ONE"], os.environ["A_NEW_ONE"]) == ("during", "during")
    assert os.environ["A_KNOWN_ONE"] == "before"
    assert "A_NEW_ONE" not in os.environ
