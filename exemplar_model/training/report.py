"""What a run shows: a progress bar, a TensorBoard log, previews, and unreadable pictures."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

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
        """Text of the column; empty until two updates are done."""
        return Text(f"{task.speed * self.batch:.1f} images/s" if task.speed else "")


class Report(AbstractContextManager["Report"]):
    """Collects losses and skipped pictures in all processes; the main process shows them."""

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
        options = {"tensorboard": {"purge_step": self.progress.step + 1}}
        self.accelerator.init_trackers("log", init_kwargs=options)
        self.bar.start()
        self.task = self.bar.add_task(
            self.config.stage, total=self.config.steps, completed=self.progress.step
        )
        if self.progress.step:
            self.say(f"Continuing from update {self.progress.step}.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()
        for tracker in self.accelerator.trackers:
            tracker.finish()
        if count := len(_lines(self.skipped_file)):
            self.say(f"Pictures left out: {count}; {self.skipped_file} tells why.")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text)

    def skipped(self, reasons: list[str]) -> None:
        """Add reasons for unusable pictures to `skipped.txt`, each of them once."""
        for line in (" ".join(reason.split()) for reason in reasons):
            if line not in self.known:
                self.known.add(line)
                with self.skipped_file.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")

    def add(self, loss: Tensor, scalars: Scalars) -> None:
        """Add loss and scalars of one forward pass to the sums, without waiting for the GPU."""
        sums, passes = self.progress.sums, self.accelerator.gradient_accumulation_steps
        for name, value in {"loss": loss, **scalars}.items():
            sums[name] = sums.get(name, 0.0) + value.float() / passes

    def update(self, learning_rate: float) -> None:
        """After each update: move the bar, and log means every `LOG_EVERY` updates."""
        step = self.progress.step
        self.progress.count += 1
        self.bar.update(self.task, completed=step)
        if step % LOG_EVERY and step != self.config.steps:
            return
        sums = self.progress.shared_sums(self.accelerator)
        logged = {f"train/{name}": value / self.progress.count for name, value in sums.items()}
        self.accelerator.log({**logged, "train/learning_rate": learning_rate}, step)
        self.bar.update(self.task, description=f"{self.config.stage} {logged['train/loss']:.4f}")
        self.progress.sums, self.progress.count = {}, 0

    def validation(self, losses: dict[str, float]) -> None:
        """Log and print the losses on held-out pictures."""
        logged = {f"validation/{name}": value for name, value in losses.items()}
        self.accelerator.log(logged, self.progress.step)
        values = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self.say(f"Update {self.progress.step}: {values}")

    def preview(self, picture: Tensor) -> None:
        """Save a picture [3, H, W] in [0, 1] as PNG and log it; called by the main process."""
        step = self.progress.step
        folder = self.config.out / "previews"
        folder.mkdir(exist_ok=True)
        pixels = (picture.permute(1, 2, 0) * 255).round().byte().cpu().numpy()  # CHW -> HWC
        Image.fromarray(pixels).save(folder / f"step-{step:08d}.png")
        tracker: Any = self.accelerator.get_tracker("tensorboard")
        tracker.log_images({"preview": pixels[None]}, step, dataformats="NHWC")


def _lines(file: Path) -> set[str]:
    return set(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else set()
