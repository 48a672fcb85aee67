"""Names of a package that are imported when they are asked for.

Whoever plans a job reads configs only, and `import torch` takes seconds and half a gigabyte of memory.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def on_demand(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package (PEP 562).

    Args:
        package: Its dotted name.
        homes: Name -> module of the package that holds it.
    """

    def attribute(name: str) -> Any:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return attribute
