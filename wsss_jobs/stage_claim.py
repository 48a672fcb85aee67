"""One driver at a time trains a stage, as far as drivers of the same run can see each other.

Two trainings of one stage would write their epochs' checkpoints into one folder. A claim is an object that its driver
keeps touching; another driver waits while it changes. It saves work and nothing else: a store may let two win, a
driver may seem dead. The first artifact then stays, and both go on with it.
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore

_log = logging.getLogger(__name__)


class StageClaim:
    """A driver's claim to a stage.

    Args:
        run_store: The run's folder.
        stage_folder: Name of the stage's folder in it.
        driver_id: Of this driver.
        touch_s: Seconds between two touches.
        silent_s: Seconds without a touch after which a claim does not count.
        settle_s: Seconds after which a silent driver's claim that was taken over, and not by yet another, is one's own.
    """

    def __init__(
        self,
        run_store: ObjectStore,
        stage_folder: str,
        driver_id: str,
        *,
        touch_s: float = 3.0,
        silent_s: float = 15.0,
        settle_s: float = 1.0,
    ) -> None:
        self._store, self._key, self._driver_id = run_store, f"jobs/claims/{stage_folder}.json", driver_id
        self._touch_s, self._silent_s, self._settle_s = touch_s, silent_s, settle_s
        self._count = 0

    @contextlib.contextmanager
    def held(self, is_done: Callable[[], bool], on_wait: Callable[[str], None]) -> Iterator[bool]:
        """Wait for a turn, and keep it during the block; False when another driver has done the work meanwhile.

        Args:
            is_done: Whether there is anything left to do.
            on_wait: Gets one sentence if another driver is at it.
        """
        if not self._take(is_done, on_wait):
            yield False
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._keep, args=(ended,), daemon=True)
        thread.start()
        try:
            yield True
        finally:
            ended.set()
            thread.join()
            self._release()

    def _take(self, is_done: Callable[[], bool], on_wait: Callable[[str], None]) -> bool:
        seen: bytes | None = None
        seen_at, has_told = time.monotonic(), False
        while not is_done():
            if self._store.put_if_absent(self._key, self._content()):
                return self._still_to_do(is_done)
            found = self._read()
            if found != seen:
                seen, seen_at = found, time.monotonic()
            if time.monotonic() - seen_at > self._silent_s:
                self._touch()
                time.sleep(self._settle_s)  # another may take over at the same moment; the last to write has it
                if self._owner(self._read()) == self._driver_id:
                    return self._still_to_do(is_done)
                continue
            if not has_told:
                has_told = True
                on_wait(f"another driver ({self._owner(found)}) is at this stage; waiting until it is done or silent")
            time.sleep(min(self._touch_s, 1.0))
        return False

    def _still_to_do(self, is_done: Callable[[], bool]) -> bool:
        """Looks again, now that the claim is held: its last holder may have ended in between; gives it up then."""
        if not is_done():
            return True
        self._release()
        return False

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(self._touch_s):
            try:
                self._touch()
            except StorageError as error:
                _log.warning("claim cannot be renewed: %s", error)

    def _touch(self) -> None:
        self._store.put(self._key, self._content())

    def _content(self) -> bytes:
        self._count += 1
        return json.dumps({"driver": self._driver_id, "touch": self._count}).encode()

    def _release(self) -> None:
        try:
            if self._owner(self._read()) == self._driver_id:
                self._store.delete([self._key])
        except StorageError as error:
            _log.warning("claim cannot be given up: %s", error)

    def _read(self) -> bytes | None:
        try:
            return self._store.get(self._key)
        except ObjectNotFoundError:
            return None

    @staticmethod
    def _owner(data: bytes | None) -> str:
        try:
            return str(json.loads(data or b"{}").get("driver", ""))
        except ValueError:
            return ""
