"""What is particular to the C++ backend: its builds, its threads, its memory."""

import ctypes
import itertools
import threading
import time

import numpy as np
import pytest

from models.crf import native_backend
from models.crf.config import DenseCRFConfig
from models.crf.native_backend import NativeBackend, declare

CONFIG = DenseCRFConfig()


@pytest.fixture
def backend(native_builds):
    if not native_builds:
        pytest.skip("the native library was not built on this machine")
    return next(iter(native_builds.values()))


def test_every_build_gives_the_same_bits(native_builds, image_factory, unary_factory):
    """A cluster of different CPUs answers as one."""
    for size, num_variants, num_labels in itertools.product(((1, 1), (29, 43), (50, 64)), (1, 2), (2, 3, 6, 21)):
        image_HW3 = image_factory(*size, "scene")
        unary_VCHW = unary_factory(num_variants, num_labels, *size)
        answers = [backend.refine_many(image_HW3, unary_VCHW, CONFIG) for backend in native_builds.values()]
        assert all(np.array_equal(answer, answers[0]) for answer in answers)


def test_other_threads_run_meanwhile(backend, image_factory, unary_factory):
    """The GIL is free while C++ computes: a thread that needs it counts on."""
    image_HW3, unary_VCHW = image_factory(300, 300, "noise"), unary_factory(1, 21, 300, 300)
    running, times = threading.Event(), []

    def tick():
        while not running.is_set():
            times.append(time.perf_counter())
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    backend.refine_many(image_HW3, unary_VCHW, CONFIG)
    end = time.perf_counter()
    running.set()
    ticker.join()
    assert sum(start < moment < end for moment in times) >= 3


def test_memory_of_giants_is_not_kept(backend, monkeypatch, image_factory, unary_factory):
    problem = image_factory(20, 30), unary_factory(1, 2, 20, 30), CONFIG
    expected = backend.refine_many(*problem)
    kept = backend._memory.workspace
    assert backend._library.dense_crf_workspace_bytes(kept.address) > 20 * 30 * 100
    backend.refine_many(*problem)
    assert backend._memory.workspace is kept
    monkeypatch.setattr(native_backend, "_MAX_KEPT_BYTES", 1000)
    assert np.array_equal(backend.refine_many(*problem), expected)
    assert not hasattr(backend._memory, "workspace")
    assert np.array_equal(backend.refine_many(*problem), expected)


def test_memory_ends_with_its_thread(backend, image_factory, unary_factory):
    freed = []

    class Counting(NativeBackend):
        def _workspace(self):
            workspace = super()._workspace()
            workspace.on_end = OnEnd(freed)
            return workspace

    counting = Counting(backend._library)
    problem = image_factory(20, 30), unary_factory(1, 2, 20, 30), CONFIG
    thread = threading.Thread(target=counting.refine_many, args=problem)
    thread.start()
    thread.join()
    assert len(freed) == 1


class OnEnd:
    """Says when it is gone."""

    def __init__(self, said):
        self.said = said

    def __del__(self):
        self.said.append(True)


def test_a_library_of_another_version_is_refused():
    class Stranger:
        class dense_crf_abi_version:  # noqa: N801 - stands for a C function
            restype = ctypes.c_int

            def __new__(cls):
                return 0

    with pytest.raises(ImportError, match="other sources"):
        declare(Stranger)
