"""Points of the solver study, and what was measured at them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from exemplar_model.files import written_whole


@dataclass(frozen=True)
class Task:
    """One point of the study."""

    sampler: str
    scheduler: str
    steps: int
    cfg: float

    @property
    def solver(self) -> tuple[str, str]:
        """Sampler and scheduler."""
        return self.sampler, self.scheduler

    @property
    def key(self) -> str:
        """Its name in the file of results."""
        return f"{self.sampler} {self.scheduler} {self.steps} {self.cfg:g}"


class Results:
    """What has been measured of a model, kept in a file; another model begins anew."""

    def __init__(self, file: Path, of: Path) -> None:
        """
        Args:
            file: JSON, made when the first result comes.
            of: the model.
        """
        self.file = file
        self.model = hashlib.sha256(of.read_bytes()).hexdigest()
        kept = json.loads(file.read_text()) if file.is_file() else {}
        self.entries: dict[str, dict[str, float]] = (
            kept["entries"] if kept.get("model") == self.model else {}
        )

    def add(self, task: Task, entry: dict[str, float]) -> None:
        """Keep a result."""
        self.entries[task.key] = entry
        with written_whole(self.file) as unfinished:
            content = {"model": self.model, "entries": self.entries}
            unfinished.write_text(json.dumps(content, indent=1))
