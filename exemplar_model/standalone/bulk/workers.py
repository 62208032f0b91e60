"""Ray: workers on this machine, or on a cluster that runs already."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

import pyarrow as pa
import ray
import ray.data
import ray.exceptions
from ray._common.usage import usage_lib  # the one switch of Ray that no argument has

from .errors import BulkError, reason_of
from .worker import Job, Report, Worker

STORE_BYTES = 128 * 2**20
"""Shared memory for Ray, besides twice the table: pictures never pass through it."""
CORES_PER_WORKER = 4
"""Of the CPU, where there is no GPU; a worker holds a model of its own."""


@dataclass(frozen=True)
class Workers:
    """How many workers there are, and what each of them gets.

    Attributes:
        count: number of processes, each with a model.
        gpus: of each, a share of one perhaps; 0 without any.
        cores: of each, as Ray counts them; the GPU decides where there is one.
        threads: with which each computes.
    """

    count: int
    gpus: float
    cores: float
    threads: int

    @classmethod
    def plan(cls, gpus: float, cores: float, count: int | None, threads: int | None) -> Workers:
        """Fit workers to what there is.

        Args:
            gpus: there are.
            cores: of the CPU there are.
            count: of workers, as the user wants it; None = one per GPU, or per four cores.
            threads: of each, as the user wants it; None = an equal share of the cores.
        """
        count = count or int(gpus) or max(1, int(cores) // CORES_PER_WORKER)
        share = int(cores // count)
        if gpus:
            return cls(count, 1 / ceil(count / gpus), 1, threads or max(1, share))
        return cls(count, 0, share or cores / count, threads or max(1, share))


@contextmanager
def started(
    address: str | None, count: int | None, threads: int | None, table_bytes: int
) -> Iterator[Workers]:
    """Join a cluster, or start Ray on this machine; it ends with the context.

    Args:
        address: of a cluster; None = this machine alone.
        count: of workers, see `Workers.plan`.
        threads: of each.
        table_bytes: size of what is sent to the workers.

    Raises:
        BulkError: there is no cluster at the address.
    """
    usage_lib.set_usage_stats_enabled_via_env_var(False)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError) as error:
            raise BulkError(
                f"No Ray cluster answers at {address} ({reason_of(error)}); correct RAY_ADDRESS, "
                "or unset it to use this machine."
            ) from error
    else:
        ray.init(
            address="local",
            object_store_memory=STORE_BYTES + 2 * table_bytes,
            include_dashboard=False,
            **quiet,
        )
    try:
        there = ray.cluster_resources()
        yield Workers.plan(there.get("GPU", 0), there.get("CPU", 1), count, threads)
    finally:
        ray.shutdown()


def run(job: Job, chunks: Iterable[pa.Table], workers: Workers) -> Iterator[Report]:
    """Give chunks to workers; their reports come in any order.

    A chunk whose worker dies goes to another one.

    Raises:
        BulkError: no worker can start.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # every report is a block of its own, and comes at once
    reports = ray.data.from_arrow(list(chunks)).map_batches(
        Worker,
        fn_constructor_args=(job, workers.threads),
        batch_size=None,  # a block is a chunk
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers.count),
        num_cpus=workers.cores,
        num_gpus=workers.gpus,
    )
    try:
        for row in reports.iter_rows():
            yield Report.from_json(row["report"])
    except ray.exceptions.RayError as error:
        raise BulkError(
            f"The workers cannot go on ({reason_of(error)}); what is finished is kept."
        ) from error
