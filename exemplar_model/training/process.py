"""What each process of a run sets up: accelerator, stage, moving average, signal handlers."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import get_cpu_distributed_information, set_seed
from diffusers.training_utils import EMAModel

from .config import TrainConfig
from .section import ConfigError
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
    """The accelerator of a run.

    Raises:
        ConfigError: the launcher started more processes than accelerate would use, each of which
            would train for itself.
    """
    # without `cpu`, accelerate ignores the other processes on a machine without a GPU
    accelerator = Accelerator(
        mixed_precision=config.precision,
        cpu=not torch.accelerator.is_available(),
        log_with="tensorboard",
        project_dir=config.out,
    )
    started = get_cpu_distributed_information().world_size  # by its environment
    if accelerator.num_processes != started:
        raise ConfigError(
            f"The launcher started {started} processes, accelerate sees "
            f"{accelerator.num_processes}; start the processes with torchrun."
        )
    return accelerator


def new_stage(config: TrainConfig, device: torch.device) -> Stage:
    """The stage of a configuration with its starting weights."""
    set_seed(
        config.seed
    )  # of initial weights; later random numbers have seeds of their own, by sample
    return STAGES[config.stage](config, device)


class MovingAverage(EMAModel):
    """Exponential moving average of weights that stays on its device when a state is loaded."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, whose tensors accelerate has read to the CPU."""
        device = self.shadow_params[0].device
        super().load_state_dict(state_dict)
        self.to(device)


@contextmanager
def averaged(ema: EMAModel | None, parameters: list[Any]) -> Generator[None]:
    """Use the moving average, if there is one, in place of the weights."""
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
    """Yield a function that tells whether SIGTERM or Ctrl-C came; a second one acts as usual."""
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
    """Whether any process was asked to stop: all of them must stop after the same update."""
    if accelerator.num_processes == 1:
        return stop
    flag = torch.tensor(float(stop), device=accelerator.device)
    return bool(accelerator.reduce(flag, reduction="sum"))
