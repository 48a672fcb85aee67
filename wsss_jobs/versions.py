"""The versions of what a run's bytes depend on."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("wsss-jobs", "torch", "torchvision", "torch-geometric", "timm", "ray", "pyarrow", "numpy")


def installed_versions() -> dict[str, str]:
    """Returns package -> version, and that of Python. A package without metadata (an uploaded folder) is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
