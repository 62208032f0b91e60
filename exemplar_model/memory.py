"""Memory of the process."""

from __future__ import annotations

import ctypes
import sys


def release_free_memory() -> None:
    """Give back to the system what the C library keeps of freed memory.

    glibc keeps freed tensors of up to 32 MB for later, and those of one model are of no use to the
    next, whose tensors are larger. Elsewhere than on Linux, and with other C libraries, which have
    no such call, nothing happens.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim = getattr(library, "malloc_trim", None)
    if trim is not None:
        trim(0)
