"""The loader of micro-batches, from a dataset or from a stream of shards."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator
from torch.utils.data import DataLoader

from .config import TrainConfig
from .data.batches import BatchPlan, StepBatches
from .data.dataset import Samples
from .data.sample import Batch, collate
from .data.shards import ShardStream


def open_loader(
    config: TrainConfig,
    dataset: Samples | ShardStream,
    plan: BatchPlan,
    accelerator: Accelerator,
    start: int,
) -> DataLoader[Batch]:
    """Micro-batches of this process, from update `start` to the end of the run."""
    process, pin_memory = accelerator.process_index, accelerator.device.type == "cuda"
    if isinstance(dataset, ShardStream):
        return dataset.loader(
            plan,
            process=process,
            workers=config.workers,
            start=start,
            stop=config.steps,
            pin_memory=pin_memory,
        )
    batches = StepBatches(
        len(dataset),
        plan,
        seed=config.seed,
        process=process,
        start=start,
        stop=config.steps,
    )
    samples: Any = dataset  # reads by (epoch, index), which torch's type does not foresee
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=config.workers,
        collate_fn=collate,
        pin_memory=pin_memory,
    )
