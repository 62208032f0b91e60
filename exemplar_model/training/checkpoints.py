"""Checkpoints of a run: written completely or not at all, the newest few kept.

Accelerate writes the state. Its own naming and limit of checkpoints are not used: it writes under
the final name and deletes the oldest checkpoint first, so that a run that is killed meanwhile
would resume from half a checkpoint.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ..files import flush_to_disk

STATE = "progress.json"
"""File of a checkpoint that holds its `Progress`; written last, so that it marks the end."""


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: updates done.
        sums: this process's sum over the updates since the last log entry of each logged value,
            as a mean over an update's forward passes.
        count: number of these updates. Both are saved, so that a resumed run logs what an
            uninterrupted one does.
        data: fingerprint of the training data.
    """

    step: int = 0
    sums: dict[str, Tensor | float] = field(default_factory=dict[str, Tensor | float])
    count: int = 0
    data: str = ""

    def shared_sums(self, accelerator: Any) -> dict[str, float]:
        """The sums, averaged over all processes; called by every process."""
        if not self.sums:
            return {}
        names = sorted(self.sums)
        sums = torch.stack([torch.as_tensor(self.sums[name]) for name in names])
        return dict(zip(names, accelerator.reduce(sums, reduction="mean").tolist(), strict=True))


class Checkpoints:
    """The folder of a run's checkpoints, named `step-00001000` and so on by their updates."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def complete(self) -> list[Path]:
        """Paths of the finished checkpoints, the newest last."""
        return sorted(self.folder.glob("step-*")) if self.folder.is_dir() else []

    def save(self, accelerator: Accelerator, progress: Progress) -> None:
        """Write the whole state under a temporary name, then rename it; called by every process."""
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
        sums = progress.shared_sums(accelerator)
        accelerator.wait_for_everyone()  # a load right after it would miss files of other processes
        if accelerator.is_main_process:
            (unfinished / STATE).write_text(json.dumps({**vars(progress), "sums": sums}))
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
    """Load one checkpoint into all that the accelerator prepared; called by every process."""
    accelerator.load_state(str(checkpoint))
    # Accelerate restores its count of forward passes, from which it tells where an update ends.
    # The saved run may have had another number of passes per update, and a process that it did not
    # have starts at 0; as checkpoints are taken between two updates, 0 is right for all. Random
    # states need no such care: all random numbers follow from the sample that they are for.
    accelerator.step = 0
    return Progress(**json.loads((checkpoint / STATE).read_text()))
