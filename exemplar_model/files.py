"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Generator[Path]:
    """Write to the path given, which gets the name `path` at the end; after an error it is deleted.

    What a killed process left under the unfinished name is written over; one process at a time.
    """
    unfinished = path.with_suffix(".unfinished")
    try:
        yield unfinished
        flush_to_disk(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def flush_to_disk(file: Path) -> None:
    """After a power cut the final name must not stand for an empty file."""
    with file.open("r+b") as opened:  # Windows flushes only what is open for writing
        os.fsync(opened.fileno())
