"""How much memory a training has taken at most."""

import resource
import sys

import torch

_BYTES_A_MIB = 1024 * 1024


def peak_memory_mib(device: torch.device) -> float:
    """Returns the most memory taken so far: by tensors on CUDA; on a CPU, by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _BYTES_A_MIB
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _BYTES_A_MIB
