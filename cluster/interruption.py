"""SIGTERM as a Ctrl-C: what a job server, a batch system or Kubernetes sends before it kills."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


def sigterm_as_ctrl_c() -> None:
    """Make SIGTERM raise KeyboardInterrupt on the main thread, once: what follows would disturb the tidying up.

    Does nothing on other threads, where Python allows no handlers.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _raise_once)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Put back the SIGTERM handler that a block replaces, if the caller had set one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before not in {signal.SIG_DFL, None}:
            signal.signal(signal.SIGTERM, before)


def _raise_once(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
