"""Builds the native engines when the package is installed. Everything else about the package is in pyproject.toml.

Each engine is a shared library with a plain C interface that ``models.native_library`` opens with ctypes: no Python.h,
no Cython, only a C++17 compiler. One source is built once for each instruction set, and the loader picks the best that
the CPU has. All of them are optional: without a compiler the package installs all the same, and runs its torch code.
"""

from __future__ import annotations

import copy
import platform
from dataclasses import dataclass, field
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# What torch.backends.cpu.get_cpu_capability() promises for AVX2 and AVX512, and not more: -march=x86-64-v3 would also
# use BMI and MOVBE, which a virtual machine may hide.
AVX2_FLAGS = ["-mavx2", "-mfma"]
AVX512_FLAGS = [*AVX2_FLAGS, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
X86_ISA_FLAGS = {"baseline": [], "avx2": AVX2_FLAGS, "avx512": AVX512_FLAGS}
PORTABLE_ISA_FLAGS: dict[str, list[str]] = {"baseline": []}

# Never -ffast-math: a library linked with it switches the whole process to flush-to-zero when it is loaded, and it
# lets the compiler assume that there is no NaN.
COMMON_FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]


@dataclass(frozen=True)
class NativeLibrary:
    """One engine: `package` is where its .so files go, `stem` is their name before ``_<isa>``."""

    package: str
    stem: str
    sources: list[str]
    headers: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    def extensions(self) -> list[Extension]:
        """One optional extension for each instruction set of the machine that builds."""
        is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
        isa_flags = X86_ISA_FLAGS if is_x86 else PORTABLE_ISA_FLAGS
        return [
            Extension(
                f"{self.package}.{self.stem}_{isa}",
                sources=self.sources,
                depends=self.headers,
                extra_compile_args=[*COMMON_FLAGS, *self.flags, *flags],
                language="c++",
                optional=True,
            )
            for isa, flags in isa_flags.items()
        ]


NATIVE_LIBRARIES = [
    NativeLibrary(
        package="models.crf",
        stem="_dense_crf",
        sources=["models/crf/native/dense_crf.cpp"],
        headers=sorted(str(path) for path in Path("models/crf/native").glob("*.hpp")),
        flags=["-ffp-contract=off"],  # the same bits on every CPU: no fused multiply-add on some of them only
    ),
    NativeLibrary(
        package="models.propagation.gcn",
        stem="_gcn_solver",
        sources=["models/propagation/gcn/native/gcn_solver.cpp"],
        headers=sorted(str(path) for path in Path("models/propagation/gcn/native").glob("*.hpp")),
        flags=["-ffp-contract=off"],  # fused where the source says so, and nowhere else: AVX2 and AVX-512 agree
    ),
]


class BuildNativeLibraries(build_ext):
    """Keeps the objects of each extension apart: the instruction sets share their sources, hence the object names."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension in a folder of its own."""
        builder = copy.copy(self)
        builder.build_temp = str(Path(self.build_temp) / ext.name)
        super(BuildNativeLibraries, builder).build_extension(ext)


setup(
    ext_modules=[extension for library in NATIVE_LIBRARIES for extension in library.extensions()],
    cmdclass={"build_ext": BuildNativeLibraries},
)
