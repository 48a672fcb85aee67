"""Compiles every kernel of the `triton` backend for real GPUs, with Triton's own assembler; no GPU is needed.

Run by `test_triton_solver` in a process of its own, since the interpreter's mode is fixed when kernels are imported.
A launch is caught where it is made, so that types and constants are those of the solver. Prints, for every kernel and
GPU generation, what the assembler says: registers, and bytes spilled to the stack.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from models.affinity.pixel_pairs import half_plane_offsets, half_square_offsets
from models.propagation.gcn import triton_batch, triton_kernels
from models.propagation.gcn.config import GCNConfig

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class CaughtLaunch:
    """Stands in for a kernel: `kernel[grid](...)` notes its arguments."""

    def __init__(self, kernel, launches):
        self._kernel, self._launches = kernel, launches

    def __getitem__(self, _grid):
        def launch(*values, **constants):
            names = self._kernel.arg_names
            self._launches[self._kernel.__name__] = (self._kernel, dict(zip(names, values, strict=False)) | constants)

        return launch


def caught_launches():
    """Returns kernel and arguments of every launch of a step, and of the propagation of features."""
    launches = {}
    for name, kernel in list(vars(triton_kernels).items()):
        if isinstance(kernel, triton.runtime.JITFunction) and not name.startswith("_"):
            setattr(triton_kernels, name, CaughtLaunch(kernel, launches))
    offsets = tuple(half_plane_offsets(5)), tuple(half_square_offsets(2))
    batch = triton_batch.TritonBatch(
        triton_batch.BatchShape(1, 128, 160, 21, *offsets), GCNConfig(), torch.device("cpu")
    )
    batch.train_step()
    arrays = [torch.zeros(4)] * 3 + [batch.diagonal, batch.row_scale, batch.offsets, batch.sizes]
    triton_kernels.propagate_features[(1, 1, 1)](*arrays, 128, 160, PLANES=34, TILE=64, FEATURES_AT_ONCE=32)
    return launches


def type_of(value):
    """Returns Triton's name of an argument's type."""
    if isinstance(value, torch.Tensor):
        names = {torch.float32: "*fp32", torch.int32: "*i32", torch.float64: "*fp64"}
        return names[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def compiled(kernel, arguments, capability):
    """Returns the kernel's machine code for one GPU generation."""
    constant_names = {p.name for p in kernel.params if p.is_constexpr}
    signature = {n: "constexpr" if n in constant_names else type_of(arguments[n]) for n in kernel.arg_names}
    constants = {(kernel.arg_names.index(n),): arguments[n] for n in constant_names}
    pointers = [i for i, n in enumerate(kernel.arg_names) if signature[n].startswith("*")]
    attributes = {(i,): [["tt.divisibility", 16]] for i in pointers}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]


def resources(machine_code):
    """Returns registers and stack bytes, as the tool of the toolkit reads them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(machine_code)
        command = [TOOLS / "cuobjdump", "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    return {"registers": int(found[1]), "stack_bytes": int(found[2])}


def main():
    """Prints one JSON object: `<kernel> sm_<capability>` -> resources."""
    found = {}
    for name, (kernel, arguments) in caught_launches().items():
        for capability in (80, 90):
            found[f"{name} sm_{capability}"] = resources(compiled(kernel, arguments, capability))
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
