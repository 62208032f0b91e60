"""What a run shows: a progress bar, TensorBoard scalars, sheets, and skipped pictures."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from .checkpoints import Progress
from .config import TrainConfig
from .stages.stage import Scalars

LOG_EVERY = 10
"""Updates between two entries of the log."""


class Throughput(ProgressColumn):
    """Pictures per second."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch

    def render(self, task: Task) -> Text:
        """Blank until two updates have been seen."""
        return Text(f"{task.speed * self.batch:.1f} images/s" if task.speed else "")


class Report(AbstractContextManager["Report"]):
    """Collects what happens; only the main process shows it."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator, progress: Progress) -> None:
        self.config = config
        self.accelerator = accelerator
        self.progress = progress
        self.main = accelerator.is_main_process
        self.skipped_file = config.out / "skipped.txt"
        self.known = _lines(self.skipped_file)
        self.console = Console(quiet=not self.main)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Throughput(config.batch),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (self.main and self.console.is_terminal),
        )

    def __enter__(self) -> Report:
        self.writer: Any = (
            SummaryWriter(self.config.out / "log", purge_step=self.progress.step + 1)
            if self.main
            else None
        )
        self.bar.start()
        self.task = self.bar.add_task(
            self.config.stage, total=self.config.steps, completed=self.progress.step
        )
        if self.progress.step:
            self.say(f"Going on from update {self.progress.step}.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()
        if self.writer is not None:
            self.writer.close()
        if count := len(_lines(self.skipped_file)):
            self.say(f"Pictures left out: {count}; {self.skipped_file} tells why.")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text)

    def skipped(self, reasons: list[str]) -> None:
        """Note pictures that this process could not use, each once."""
        for line in (" ".join(reason.split()) for reason in reasons):
            if line not in self.known:
                self.known.add(line)
                with self.skipped_file.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")

    def add(self, loss: Tensor, scalars: Scalars) -> None:
        """Add what one forward pass gave to the running sums, without waiting for the device."""
        sums = self.progress.sums
        for name, value in {"loss": loss, **scalars}.items():
            sums[name] = sums.get(name, 0.0) + value.float()
        self.progress.count += 1

    def update(self, learning_rate: float) -> None:
        """After each update: move the bar, and log means now and then."""
        step = self.progress.step
        self.bar.update(self.task, completed=step)
        if step % LOG_EVERY and step != self.config.steps:
            return
        names = sorted(self.progress.sums)
        sums = torch.stack([torch.as_tensor(self.progress.sums[name]) for name in names])
        accelerator: Any = self.accelerator  # its methods carry no types
        means: Tensor = accelerator.reduce(sums / self.progress.count, reduction="mean")
        logged = {f"train/{n}": float(m) for n, m in zip(names, means, strict=True)}
        self._log({**logged, "train/learning_rate": learning_rate})
        self.bar.update(self.task, description=f"{self.config.stage} {logged['train/loss']:.4f}")
        self.progress.sums, self.progress.count = {}, 0

    def validation(self, losses: dict[str, float]) -> None:
        """Log and print what was measured on held-out pictures."""
        self._log({f"validation/{name}": value for name, value in losses.items()})
        values = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self.say(f"Update {self.progress.step}: {values}")

    def sheet(self, picture: Tensor) -> None:
        """Save a picture [3, H, W] in [0, 1] as PNG and for TensorBoard."""
        step = self.progress.step
        folder = self.config.out / "sheets"
        folder.mkdir(exist_ok=True)
        pixels = (picture.cpu() * 255).round().byte()
        Image.fromarray(np.asarray(pixels.permute(1, 2, 0))).save(folder / f"step-{step:08d}.png")
        if self.writer is not None:
            self.writer.add_image("sheet", pixels, step)

    def _log(self, scalars: dict[str, float]) -> None:
        if self.writer is not None:
            for name, value in scalars.items():
                self.writer.add_scalar(name, value, self.progress.step)
            self.writer.flush()


def _lines(file: Path) -> set[str]:
    return set(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else set()
