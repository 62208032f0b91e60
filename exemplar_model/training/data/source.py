"""The interface of a source of training pictures, and the errors that it may raise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import UserError
from .boxes import Array, Box

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class UnreadablePictureError(Exception):
    """One picture is corrupt, absent or without a usable box; training continues without it."""


class DataError(UserError, RuntimeError):
    """The pictures as a whole cannot be used; the message names the cure."""


@dataclass(frozen=True)
class Picture:
    """A picture and the boxes of its objects.

    Attributes:
        image: [H, W, 3], uint8.
        boxes: one or more, in pixels.
        objects: for each box the alpha mask [H, W] of its object, uint8 (255 = object); None where
            the source does not know the outlines of all objects.
    """

    image: Pixels
    boxes: list[Box]
    objects: list[Pixels] | None = None


@dataclass(frozen=True)
class PictureFile:
    """Where a picture is stored, and the boxes of its objects.

    Attributes:
        name: unique in its source.
        path: of the file.
        boxes: [N, 4], left, top, right, bottom as fractions of the picture's width and height.
    """

    name: str
    path: Path
    boxes: Array


class Source(Protocol):
    """Training pictures by index."""

    def __len__(self) -> int:
        """Pictures in an epoch."""
        ...

    def read(self, index: int, rng: np.random.Generator) -> Picture:
        """The picture of an index; a source that composes its pictures draws from `rng`.

        Raises:
            UnreadablePictureError: this picture cannot be used.
        """
        ...

    def fingerprint(self) -> str:
        """Short text that changes when the pictures or boxes change."""
        ...
