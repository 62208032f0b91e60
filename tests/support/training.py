"""Training runs of seconds: generated pictures and a very small model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from exemplar_model.training.config import TrainConfig, load_config
from exemplar_model.training.data.open import open_dataset
from exemplar_model.training.data.sample import Batch, collate

ROOT = Path(__file__).parents[2]
SMALL = (
    "model.unet_channels=[32,32]",
    "model.autoencoder_channels=[32,32]",
    "resolution=16",
    "batch=4",
    "micro_batch=2",
    "warmup=2",
    "steps=8",
    "checkpoint_every=3",
    "validation.data=null",
)


def small_config(out: Path, *overrides: str) -> TrainConfig:
    """The shipped smoke run, made smaller still."""
    return load_config("smoke", [*SMALL, f"out={out}", *overrides])


def small_batch(config: TrainConfig, size: int = 4) -> Batch:
    """The first samples of a run as one batch."""
    dataset = open_dataset(config, config.data)
    return collate([dataset[0, index] for index in range(size)])


def with_draws(batch: Batch, **draws: torch.Tensor) -> Batch:
    """The batch with other random numbers, one per sample."""
    return batch._replace(draws=batch.draws._replace(**draws))


def equal_samples(one: Batch, other: Batch) -> bool:
    """Whether two samples or batches are the same, bit by bit."""
    if type(one.content) is not type(other.content) or one.skipped != other.skipped:
        return False
    pairs = zip((*one.content, *one.draws), (*other.content, *other.draws), strict=True)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def command(*arguments: str, processes: int = 1) -> list[str]:
    """`python -m exemplar_model …`, or the same under torchrun."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [*launcher, "-m", "exemplar_model", *arguments]


def train_command(out: Path, *overrides: str, processes: int = 1) -> list[str]:
    """Command line of a small run."""
    arguments = ("train", "smoke", *SMALL, f"out={out}", *overrides)
    return command(*arguments, processes=processes)


def environment() -> dict[str, str]:
    """One thread, so that sums have one order; the package importable from anywhere."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def run(arguments: list[str]) -> str:
    """Run to the end and return what was printed."""
    result = subprocess.run(
        arguments, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def logged(out: Path, tag: str) -> dict[int, float]:
    """A scalar of the run's log by update."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "log"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


def weights(out: Path) -> dict[str, torch.Tensor]:
    """The exported model of a run."""
    from safetensors.torch import load_file

    return load_file(out / "model.safetensors")
