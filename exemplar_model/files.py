"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Generator[Path]:
    """Yield a temporary path to write to; it is renamed to `path` at the end, deleted on an error.

    The temporary name is `path` with `.unfinished` behind it. What a killed process left there is
    overwritten; only one process at a time may write a file.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        yield unfinished
        flush_to_disk(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def flush_to_disk(file: Path) -> None:
    """Write a file through to the disk, so that a power cut leaves no empty file under its name."""
    with file.open("r+b") as opened:  # Windows flushes only what is open for writing
        os.fsync(opened.fileno())
