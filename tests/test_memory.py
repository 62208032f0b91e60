"""Memory that has been freed goes back to the system."""

import platform

import pytest
import torch

from exemplar_model.memory import release_free_memory
from lab.bench.measure import anonymous_bytes

MB = 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep nothing")
def test_freed_tensors_go_back_to_the_system():
    torch.ones(16 * MB, dtype=torch.uint8)  # from now on glibc keeps tensors of this size
    tensors = [torch.ones(8 * MB, dtype=torch.uint8) for _ in range(40)]
    held = torch.ones(MB // 2, dtype=torch.uint8)  # behind them, so that the heap cannot shrink
    tensors.clear()
    kept = anonymous_bytes()
    release_free_memory()
    assert kept - anonymous_bytes() > 200 * MB
    assert int(held.sum()) == MB // 2
