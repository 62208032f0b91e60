"""Checkpoints of a run: written whole or not at all, the last few kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from ..files import flush_to_disk

STATE = "progress.json"


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: updates done.
        sums, count: scalars since they were last logged, so that a resumed curve has no seam.
    """

    step: int = 0
    sums: dict[str, Tensor | float] = field(default_factory=dict[str, Tensor | float])
    count: int = 0


class Checkpoints:
    """The folder of a run's checkpoints, `step-00001000` and so on."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def complete(self) -> list[Path]:
        """Finished checkpoints, the newest last."""
        return sorted(self.folder.glob("step-*")) if self.folder.is_dir() else []

    def save(self, accelerator: Accelerator, progress: Progress) -> None:
        """Write everything under another name, then rename; called by every process."""
        target = self.folder / f"step-{progress.step:08d}"
        if target.is_dir():
            return
        unfinished = self.folder / f"unfinished-{progress.step:08d}"
        if accelerator.is_main_process:
            for leftover in self.folder.glob("unfinished-*"):
                shutil.rmtree(leftover)
            unfinished.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(unfinished))
        accelerator.wait_for_everyone()  # a load right after would race (files of other processes)
        if accelerator.is_main_process:
            sums = {name: float(value) for name, value in progress.sums.items()}
            state = {"step": progress.step, "sums": sums, "count": progress.count}
            (unfinished / STATE).write_text(json.dumps(state))
            for file in unfinished.rglob("*"):
                if file.is_file():
                    flush_to_disk(file)
            unfinished.rename(target)
            for old in self.complete()[: -self.keep]:
                shutil.rmtree(old)
        accelerator.wait_for_everyone()

    def resume(self, accelerator: Accelerator) -> Progress:
        """Load the newest checkpoint, if there is one; called by every process."""
        found = self.complete()
        return load(accelerator, found[-1]) if found else Progress()


def load(accelerator: Accelerator, checkpoint: Path) -> Progress:
    """Load one checkpoint into all that the accelerator prepared."""
    accelerator.load_state(str(checkpoint))
    return Progress(**json.loads((checkpoint / STATE).read_text()))
