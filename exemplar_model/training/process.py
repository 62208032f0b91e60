"""What surrounds a training run in every process: accelerator, stage, averaged weights, signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel

from .config import ConfigError, TrainConfig
from .stages.autoencoder import AutoencoderStage
from .stages.denoiser import DenoiserStage
from .stages.stage import Stage
from .stages.tower import TowerStage

STAGES: dict[str, type[Stage]] = {
    "denoiser": DenoiserStage,
    "autoencoder": AutoencoderStage,
    "tower": TowerStage,
}


def new_accelerator(config: TrainConfig) -> Accelerator:
    """The accelerator of a run, after making sure that it sees every process.

    Raises:
        ConfigError: the launcher started more processes than accelerate would use, each of which
            would train for itself.
    """
    # without `cpu`, accelerate takes several processes on a machine without GPU for single ones
    accelerator = Accelerator(
        mixed_precision=config.precision, cpu=not torch.accelerator.is_available()
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise ConfigError(
            f"The launcher started {started} processes, accelerate sees "
            f"{accelerator.num_processes}; start them with torchrun."
        )
    return accelerator


def new_stage(config: TrainConfig, device: torch.device) -> Stage:
    """The stage of a configuration with its starting weights."""
    set_seed(config.seed)  # what starts random starts alike; everything later is drawn by sample
    return STAGES[config.stage](config, device)


@contextmanager
def averaged(ema: EMAModel | None, parameters: list[Any]) -> Generator[None]:
    """The running mean in place of the weights."""
    if ema is None:
        yield
        return
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)


@contextmanager
def stop_on_signal() -> Generator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C ask for a stop after the running update; a second one kills."""
    received: list[signal.Signals] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        signal.signal(number, before[received[-1]])

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, receive)
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def agree(stop: bool, accelerator: Any) -> bool:
    """Whether any process was asked to stop; all must leave at the same update."""
    if accelerator.num_processes == 1:
        return stop
    flag = torch.tensor(float(stop), device=accelerator.device)
    return bool(accelerator.reduce(flag, reduction="sum"))
