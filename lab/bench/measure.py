"""Time, memory and operations of what runs in this process."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

SAMPLING_INTERVAL = 0.005
"""Seconds between two looks at the memory."""


def device() -> torch.device:
    """Where the denoisers are compared: the CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def about() -> dict[str, Any]:
    """What a reader needs to know about this process and its machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = (line for line in cpuinfo.read_text().splitlines() if line.startswith("model name"))
        model = next(names, f": {model}").split(":", 1)[1].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": f"{model}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def timed(function: Callable[[], Any], on: torch.device) -> tuple[Any, float]:
    """What a function returns and the seconds that it takes; on CUDA between two device events."""
    if on.type != "cuda":
        start = time.perf_counter()
        return function(), time.perf_counter() - start
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    result = function()
    end.record()
    torch.cuda.synchronize()
    return result, begin.elapsed_time(end) / 1000


def alternate(
    functions: Mapping[str, Callable[[], Any]], rounds: int, on: torch.device
) -> dict[str, list[float]]:
    """Seconds of each function by round; within a round every function runs once, in order.

    What slows the machine down for a while so meets all of them, and their ratios stay.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            seconds[name].append(timed(function, on)[1])
    return seconds


def count_flops(module: nn.Module, *inputs: Any, **keywords: Any) -> int:
    """Floating-point operations of a call, a multiplication and an addition counting as two.

    Nothing is computed: weights and inputs are replaced by ones on the meta device. Attention is
    taken apart into its matrix products, as PyTorch's counter knows no fused attention of CPUs.
    """
    state = {name: tensor.to("meta") for name, tensor in module.state_dict().items()}
    inputs, keywords = tree_map_only(Tensor, lambda each: each.to("meta"), (inputs, keywords))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        functional_call(module, state, inputs, keywords)
    return counter.get_total_flops()


def relative_distance(a: Tensor, b: Tensor) -> float:
    """L2 norm of the difference over that of the second."""
    return float((a.double() - b.double()).norm() / b.double().norm())


def tensor_bytes(*modules: nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    return sum(t.nbytes for each in modules for t in (*each.parameters(), *each.buffers()))


def anonymous_bytes() -> int:
    """Memory of this process that no file stands behind; Linux only."""
    with open("/proc/self/status") as status:
        line = next(each for each in status if each.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def release_free_memory() -> None:
    """Give back to the system what the C library keeps of freed memory.

    glibc keeps freed tensors of up to 32 MB for later. On other systems nothing happens.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim = getattr(library, "malloc_trim", None)
    if trim is not None:
        trim(0)


def peak_resident_bytes() -> int:
    """Most memory that this process ever held, mapped files included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


class AnonymousPeak:
    """The most anonymous memory while this context is open.

    Attributes:
        before: bytes when it was opened.
        peak: most bytes seen since.
    """

    def __enter__(self) -> AnonymousPeak:
        release_free_memory()  # using it again is to count as growth
        self.before = self.peak = anonymous_bytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_bytes())

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLING_INTERVAL):
            self.peak = max(self.peak, anonymous_bytes())


class Stages:
    """Seconds and number of calls of the stages of a run, by name."""

    def __init__(self, on: torch.device) -> None:
        self.on = on
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    def run(self, name: str, function: Callable[..., Any], *inputs: Any, **keywords: Any) -> Any:
        """Call a function as a stage, or as one more call of it."""
        result, seconds = timed(lambda: function(*inputs, **keywords), self.on)
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.calls[name] = self.calls.get(name, 0) + 1
        return result

    @contextmanager
    def watching(self, **methods: tuple[Any, str]) -> Generator[None]:
        """Count every call of the methods, given as stage = (object, name), as their stage."""
        for name, (owner, method) in methods.items():
            original = getattr(owner, method)
            setattr(owner, method, self._staged(name, original))
        try:
            yield
        finally:
            for owner, method in methods.values():
                delattr(owner, method)  # the class has the method

    def _staged(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *inputs, **keywords: self.run(name, original, *inputs, **keywords)
