"""What a source of training pictures gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...errors import UserError
from .holes import Box

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class UnreadablePictureError(Exception):
    """One picture is corrupt, absent or without a usable box; training goes on without it."""


class DataError(UserError, RuntimeError):
    """The pictures as a whole cannot be used; the message names the cure."""


@dataclass(frozen=True)
class Picture:
    """A picture with the boxes of its objects.

    Attributes:
        image: [H, W, 3], uint8.
        boxes: one or more, in pixels.
        objects: one [H, W] uint8 for each box, how much of a pixel is the object (0…255), where
            the source knows it.
    """

    image: Pixels
    boxes: list[Box]
    objects: list[Pixels] | None = None


class Source(Protocol):
    """Training pictures by number."""

    def __len__(self) -> int:
        """Pictures in an epoch."""
        ...

    def read(self, index: int, rng: np.random.Generator) -> Picture:
        """The picture of a number; a source that composes pictures draws from `rng`.

        Raises:
            UnreadablePictureError: it cannot be used.
        """
        ...

    def fingerprint(self) -> str:
        """Short text that changes when the pictures do."""
        ...
