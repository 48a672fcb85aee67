"""Who hears how long operations on stores take and what goes wrong in them. A process has one observer, or none.

Stores know nothing of metrics: whoever runs them sets an observer that does.
"""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_store import ObjectNotFoundError


class StoreObserver(Protocol):
    """Hears of operations; must return soon and be safe to call from several threads."""

    def operation_finished(self, operation: str, seconds: float) -> None:
        """An operation (`get`, `put`, `list`, ...) has ended, well or not, after all its tries."""

    def try_failed(self, operation: str, code: str) -> None:
        """A try went wrong, also when a later one went well. `code` is S3's, or an errno's name such as `ENOSPC`."""


@dataclass
class _Current:
    observer: StoreObserver | None = None


_current = _Current()


def observe_stores(observer: StoreObserver | None) -> None:
    """Let this observer hear of every operation of this process from now on; None for nobody."""
    _current.observer = observer


@contextmanager
def timed(operation: str) -> Iterator[None]:
    """Tells the observer how long the block took and, where the operating system refused something, what."""
    started = time.monotonic()
    try:
        yield
    except ObjectNotFoundError:
        raise
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno is not None:
            report_failed_try(operation, errno.errorcode.get(cause.errno, str(cause.errno)))
        raise
    finally:
        if _current.observer is not None:
            _current.observer.operation_finished(operation, time.monotonic() - started)


def report_failed_try(operation: str, code: str) -> None:
    """Tells the observer of a failed try."""
    if _current.observer is not None:
        _current.observer.try_failed(operation, code)
