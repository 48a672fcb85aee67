"""How the C library treats the memory of networks on a CPU."""

import ctypes

# <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 64 * 2**20


def keep_freed_memory() -> bool:
    """Lets the process keep what it frees, where the C library is glibc; returns whether it does.

    By default every large array is mapped afresh and given back at once. Each training step, and each image, allocates
    the same gigabytes again, and the kernel clears each page anew: on a virtual machine that took a third of the time
    of training, and a seventh of that of inference.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
