"""How fast the data pipeline is by itself, and what the paper's run asks of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from webdataset.shardlists import expand_urls

from .config import Data, ShardData, TrainConfig
from .data.coco import Coco
from .data.dataset import Samples
from .data.open import open_source, open_training_data
from .data.openimages import OpenImages
from .data.sample import Sample
from .data.shards import ShardStream, count_samples

GPUS, GPUS_PER_NODE = 64, 8
SAMPLES = 40 * 1_900_000
"""Of the paper's run: 40 epochs of OpenImages."""
PAPER_DAYS = 7
SPEEDS = (10.0, 40.0)
"""Images per second and GPU of faster cards than the paper's."""
NODE_CORES = 48
"""Cores of a node with 8 V100 (AWS p3dn.24xlarge: 96 hyper-threads)."""
NODE_MEGABYTES = 1250
"""MB/s into a node over 10 Gbit/s Ethernet."""
HEADROOM = 1.25
"""Workers could make so many times what the GPUs take, as some pictures cost more than others."""
SIZED_PICTURES = 1000
"""Pictures whose files are looked at for their mean size."""


@dataclass(frozen=True)
class Demand:
    """What the paper's run asks of its data pipeline at one speed of the GPUs.

    Attributes:
        gpu_rate: images per second and GPU.
        workers: data loading processes per GPU, of one core each.
        cores: per node of 8 GPUs, with one for each training process.
        megabytes: read per second and node.
    """

    gpu_rate: float
    workers: int
    cores: int
    megabytes: float

    @classmethod
    def at(cls, gpu_rate: float, core_rate: float, picture_bytes: float) -> Demand:
        """For GPUs of a speed, given images per second and core, and bytes of a picture."""
        workers = math.ceil(gpu_rate * HEADROOM / core_rate)
        megabytes = gpu_rate * GPUS_PER_NODE * picture_bytes / 1e6
        return cls(gpu_rate, workers, GPUS_PER_NODE * (workers + 1), megabytes)

    @property
    def days(self) -> float:
        """Of the whole run."""
        return SAMPLES / (self.gpu_rate * GPUS) / 86_400

    @property
    def bottleneck(self) -> str:
        """What the run waits for on nodes of `NODE_CORES` and `NODE_MEGABYTES`."""
        shares = {
            "GPU": 1.0,
            "cores": self.cores / NODE_CORES,
            "disk or network": self.megabytes / NODE_MEGABYTES,
        }
        return max(shares, key=lambda name: shares[name])


def measure(config: TrainConfig, seconds: float) -> float:
    """Images per second of one core: `data` read, decoded, augmented and resized, nothing else.

    One process, one thread, no worker. What counts is the process' own time: neither a busy machine
    nor waiting for the disk, of which the table tells what is read, makes it smaller.

    Args:
        config: of a run; nothing is trained.
        seconds: of measuring.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        samples = _samples(open_training_data(config), config.seed)
        next(samples)  # opens what is opened once
        made, start, busy = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - start < seconds:
            next(samples)
            made += 1
        return made / (time.process_time() - busy)
    finally:
        torch.set_num_threads(threads)


def picture_bytes(data: Data) -> float:
    """Mean size of a picture's file; 0 for composed pictures and where no shard is local."""
    if isinstance(data, ShardData):
        local = [url for url in expand_urls(data.urls) if Path(url).is_file()]
        total = sum(Path(url).stat().st_size for url in local)
        return total / max(1, sum(map(count_samples, local)))
    source = open_source(data)
    if not isinstance(source, OpenImages | Coco):
        return 0.0
    chosen = np.linspace(0, len(source) - 1, min(len(source), SIZED_PICTURES)).astype(int)
    return float(np.mean([source.file(int(i)).path.stat().st_size for i in chosen]))


def paper_table(core_rate: float, picture_bytes: float) -> Table:
    """The paper's run worked out from a measured pipeline.

    Args:
        core_rate: images per second of one core, as `measure` gives it.
        picture_bytes: mean size of a picture's file.
    """
    most = (NODE_CORES // GPUS_PER_NODE - 1) * core_rate / HEADROOM
    table = Table(
        title=f"{SAMPLES / 1e6:.0f} M images on {GPUS} GPUs; {core_rate:.0f} images/s per core, "
        f"{picture_bytes / 1e3:.0f} kB per picture",
        caption=f"A node: {GPUS_PER_NODE} GPUs, {NODE_CORES} cores, {NODE_MEGABYTES} MB/s; "
        f"its cores suffice up to {most:.0f} images/s per GPU",
    )
    for heading in (
        "images/s per GPU",
        "days",
        "images/s in all",
        "workers per GPU",
        "cores per node",
        "MB/s per node",
        "waits for",
    ):
        table.add_column(heading, justify="right")
    paper = SAMPLES / (PAPER_DAYS * 86_400 * GPUS)
    for gpu_rate in (paper, *SPEEDS):
        demand = Demand.at(gpu_rate, core_rate, picture_bytes)
        table.add_row(
            f"{gpu_rate:.1f}",
            f"{demand.days:.1f}",
            f"{gpu_rate * GPUS:.0f}",
            str(demand.workers),
            str(demand.cores),
            f"{demand.megabytes:.0f}",
            demand.bottleneck,
        )
    return table


def _samples(data: Samples | ShardStream, seed: int) -> Iterator[Sample]:
    if isinstance(data, ShardStream):
        yield from data
        return
    order = np.random.default_rng(seed).permutation(len(data))
    for epoch in count():
        yield from (data[epoch, int(index)] for index in order)
