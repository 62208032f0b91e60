"""Training runs of seconds: generated pictures and a very small model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from exemplar_model.__main__ import main
from exemplar_model.training.config import TrainConfig, load_config
from exemplar_model.training.data.open import open_dataset
from exemplar_model.training.data.sample import Batch, collate
from support.processes import starter

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


def train_arguments(out: Path, *overrides: str) -> tuple[str, ...]:
    """Arguments of the command line for a small run."""
    return ("train", "smoke", *SMALL, f"out={out}", *overrides)


def start(out: Path, *overrides: str, **environment: str) -> BaseProcess:
    """Start a small run by the command line, in a process of its own."""
    arguments = train_arguments(out, *overrides)
    process = starter().Process(target=_run, args=(arguments, str(printed(out)), environment))
    process.start()
    return process


def start_together(out: Path, *overrides: str, processes: int) -> list[BaseProcess]:
    """Start the processes of one small run; several get the environment that torchrun sets."""
    if processes == 1:
        return [start(out, *overrides)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    places = [{**common, "RANK": rank, "LOCAL_RANK": rank} for rank in range(processes)]
    return [start(out, *overrides, **{k: str(v) for k, v in each.items()}) for each in places]


def end(*processes: BaseProcess) -> None:
    """Wait for processes to end well."""
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


def printed(out: Path) -> Path:
    """File with what the started processes of a run printed."""
    return out.with_suffix(".txt")


def _run(arguments: tuple[str, ...], output: str, environment: dict[str, str]) -> None:
    os.environ.update(environment, OMP_NUM_THREADS="1")  # accelerate reads it, too
    torch.set_num_threads(1)
    sys.argv[1:] = arguments
    with open(output, "a", encoding="utf-8") as sys.stdout:
        main()


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

    # files of a run that was stopped and resumed within a second come in any order
    events = EventAccumulator(str(out / "log"), purge_orphaned_data=False)
    events.Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


def weights(out: Path) -> dict[str, torch.Tensor]:
    """The exported model of a run."""
    from safetensors.torch import load_file

    return load_file(out / "model.safetensors")
