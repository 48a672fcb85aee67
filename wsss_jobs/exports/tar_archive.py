"""A gzipped tar file that grows on the local disk; the same members give the same bytes."""

import gzip
import io
import tarfile
from pathlib import Path


class TarArchive:
    """Members are added one by one; nothing is kept in memory.

    Args:
        path: The file to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0)
        self._tar = tarfile.TarFile(fileobj=self._gzip, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, data: bytes) -> None:
        """Adds a file."""
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        """Completes the file."""
        for part in (self._tar, self._gzip, self._file):
            part.close()
