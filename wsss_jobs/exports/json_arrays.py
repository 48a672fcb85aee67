"""A JSON object with long arrays, written element by element."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COPY_BYTES = 1 << 20


class JsonArrays:
    """Arrays that grow side by side in files, joined into one object at the end.

    Args:
        folder: A local folder for the files.
        names: Of the arrays, in the order in which they come in the object.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._paths = {name: folder / f"{name}.part" for name in names}
        self._files = {name: path.open("wb") for name, path in self._paths.items()}

    def add(self, name: str, element: Mapping[str, Any]) -> None:
        """Adds an element to an array."""
        file = self._files[name]
        if file.tell():
            file.write(b",\n")
        file.write(json.dumps(element, ensure_ascii=False, separators=(",", ":")).encode())

    def join(self, head: Mapping[str, Any], path: Path) -> None:
        """Writes the object: the members of `head`, then the arrays."""
        with path.open("wb") as target:
            target.write(json.dumps(head, ensure_ascii=False, indent=1).encode().rstrip(b"\n}"))
            for name, part in self._paths.items():
                self._files[name].close()
                target.write(f',\n "{name}": [\n'.encode())
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target, _COPY_BYTES)
                target.write(b"\n]")
            target.write(b"\n}\n")
