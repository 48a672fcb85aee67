"""Opens the shared libraries that setup.py builds, and picks the one for this CPU.

A library is `<stem>_<isa>` in its package's folder, one for each instruction set: `baseline` (what every CPU of the
platform has), `avx2`, `avx512`. It has a plain C interface; ctypes releases the GIL for the time of every call.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import logging
import threading
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

LOGGER = logging.getLogger(__name__)

DISTRIBUTION = "wsss-jobs"
"""Name under which the project is installed."""

# torch asks the CPU (and the operating system) for us; a newer set includes the older ones.
_ISAS_BY_CAPABILITY = {"AVX512": ("avx512", "avx2", "baseline"), "AVX2": ("avx2", "baseline")}
_LOAD_LOCK = threading.Lock()


def supported_isas() -> tuple[str, ...]:
    """Return the instruction sets that this CPU has, best first; `baseline` is always the last."""
    import torch  # only for those who compute: configs are read without it

    return _ISAS_BY_CAPABILITY.get(torch.backends.cpu.get_cpu_capability(), ("baseline",))


def load_native(package: str, stem: str) -> ctypes.CDLL | None:
    """Return the best build of a library that this CPU can run, or None where none was built.

    The first call for a library that was not built logs one line; every call after it is silent.

    Args:
        package: dotted name of the package that holds the library, as ``"models.crf"``.
        stem: the library's name without the instruction set, as ``"_dense_crf"``.
    """
    with _LOAD_LOCK:  # so that two threads that come first at the same time log once
        return _load_best(package, stem)


def load_native_isa(package: str, stem: str, isa: str) -> ctypes.CDLL | None:
    """Return the build for one of `supported_isas()`, or None where it was not built or cannot be opened."""
    path = _library_path(package, f"{stem}_{isa}")
    if path is None:
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        LOGGER.warning("native library cannot be opened: path=%s error=%s", path, error)
        return None


@functools.cache
def _load_best(package: str, stem: str) -> ctypes.CDLL | None:
    for isa in supported_isas():
        library = load_native_isa(package, stem, isa)
        if library is not None:
            LOGGER.debug("native library loaded: package=%s stem=%s isa=%s", package, stem, isa)
            return library
    LOGGER.warning(
        "native library not built, the slower torch code runs instead: package=%s stem=%s "
        "(install a C++17 compiler and reinstall the package, or run: python setup.py build_ext --inplace)",
        package,
        stem,
    )
    return None


def _library_path(package: str, name: str) -> Path | None:
    """Return the file of one build: in the package's own folder, else in that of the installed distribution.

    The two differ where a checkout lies before the installation on the path, as in a Ray job that uploads one: sources
    travel, libraries do not.
    """
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
    folders += _installed_folders(package)
    candidates = [folder / f"{name}{suffix}" for folder in folders for suffix in EXTENSION_SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


def _installed_folders(package: str) -> list[Path]:
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(distribution.locate_file(package.replace(".", "/"))))]
