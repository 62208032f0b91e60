"""Which samples each update trains on: its number alone decides, so that runs resume exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler

from ..section import ConfigError


@dataclass(frozen=True)
class BatchPlan:
    """How the batch of an update is divided among processes and forward passes.

    Attributes:
        batch: samples per update, over all processes.
        micro_batch: samples per process and forward pass.
        processes: number of training processes.

    Raises:
        ConfigError: the batch cannot be divided into equal micro-batches.
    """

    batch: int
    micro_batch: int
    processes: int

    def __post_init__(self) -> None:
        if self.batch % (self.micro_batch * self.processes):
            raise ConfigError(
                f"batch is {self.batch}, which {self.processes} process(es) cannot divide into "
                f"micro-batches of {self.micro_batch}; choose a multiple of "
                f"{self.micro_batch * self.processes}, or another micro_batch."
            )

    @property
    def accumulation(self) -> int:
        """Forward passes per process and update."""
        return self.batch // (self.micro_batch * self.processes)


class StepBatches(Sampler[list[tuple[int, int]]]):
    """Micro-batches of one process from update `start` up to `stop`, as lists of (epoch, index).

    Each epoch shuffles the samples anew, and a batch may begin in one epoch and end in the next.
    The samples of an update do not depend on the number of processes.
    """

    def __init__(
        self, length: int, plan: BatchPlan, *, seed: int, process: int, start: int, stop: int
    ) -> None:
        self.length = length
        self.plan = plan
        self.seed = seed
        self.process = process
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return (self.stop - self.start) * self.plan.accumulation

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        plan = self.plan
        for update in range(self.start, self.stop):
            for passage in range(plan.accumulation):
                share = passage * plan.processes + self.process
                first = update * plan.batch + share * plan.micro_batch
                yield [
                    self._sample(position) for position in range(first, first + plan.micro_batch)
                ]

    def _sample(self, position: int) -> tuple[int, int]:
        epoch, place = divmod(position, self.length)
        return epoch, int(_permutation(self.seed, epoch, self.length)[place])


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng((seed, epoch)).permutation(length)
