"""Batches that killed their worker, so that they do not kill the next ones for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .errors import RowError

LIVES = 2
"""Workers that a batch may cost; then its rows are tried alone, at the same price."""


class Attempts:
    """Counts in files, as a process that the system kills can tell nothing any more.

    An attempt that ends, well or with an exception, is forgotten; what stays is a worker's death.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / "attempts"

    def begin(self, ids: Sequence[str]) -> None:
        """Count an attempt to paint rows together.

        Raises:
            RowError: too many attempts ended with the worker's death.
        """
        file = self._file(ids)
        deaths = int(file.read_text() or 0) if file.exists() else 0
        if deaths >= LIVES:
            raise RowError(
                f"Its worker was lost {deaths} times while painting it, often a lack of memory; "
                "use fewer workers or a smaller batch."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(str(deaths + 1))

    def end(self, ids: Sequence[str]) -> None:
        """Forget the attempts to paint rows together."""
        self._file(ids).unlink(missing_ok=True)

    def _file(self, ids: Sequence[str]) -> Path:
        return self.folder / hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]
