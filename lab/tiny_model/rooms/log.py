"""What the renderers have written down: a line of JSON per finished group of views."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def log_file(folder: Path, worker: int) -> Path:
    """Where a worker writes; each has a file of its own."""
    return folder / f"worker-{worker}.jsonl"


def log_files(folder: Path) -> list[Path]:
    """The logs of all workers that ever drew into a folder."""
    return sorted(folder.glob("worker-*.jsonl"))


def read_groups(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of all logs: `group` and `pictures`, each with `file` and `objects`."""
    lines = (line for file in log_files(folder) for line in file.read_text().splitlines())
    return [json.loads(line) for line in lines if line.endswith("}")]  # the last may be cut off


def append(file: Path, group: dict[str, Any]) -> None:
    """Write a line; what a killed worker left unfinished stays a line of its own."""
    torn = file.is_file() and not file.read_text().endswith("\n")
    with file.open("a") as opened:
        opened.write("\n" * torn + json.dumps(group) + "\n")
