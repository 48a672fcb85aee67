"""A folder that dies before its n-th change: what does a crash at any point leave?"""

from pathlib import Path

from wsss_jobs.storage.local_store import LocalStore


class CrashError(Exception):
    pass


class CrashingStore(LocalStore):
    """Dies before its n-th change; `child` keeps counting on the same list."""

    budget: list[int]

    def child(self, prefix):
        below = CrashingStore(self._path(prefix.rstrip("/")))
        object.__setattr__(below, "budget", self.budget)
        return below

    def put(self, key, data):
        self._spend()
        super().put(key, data)

    def upload(self, path, key):
        self._spend()
        super().upload(path, key)

    def delete(self, keys):
        for key in keys:
            self._spend()
            super().delete([key])

    def _spend(self):
        if self.budget[0] == 0:
            raise CrashError
        self.budget[0] -= 1


def crashing_store(root: Path, budget: int) -> CrashingStore:
    store = CrashingStore(root)
    object.__setattr__(store, "budget", [budget])
    return store
