"""One row of a table: its pictures and settings, checked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ...constants import NUM_TIMESTEPS
from ...region import MIN_RESOLUTION
from ...sampler import SAMPLERS
from .errors import RowError

WHOLE = "whole"
"""In place of a number for `context`: the region is the whole picture."""
LARGEST_SEED = 2**64 - 1


def integer(least: int, most: int | None = None) -> Any:
    """How to read a whole number within limits, and what to tell of it."""

    def read(text: str) -> int:
        number = int(text.removesuffix(".0"))  # Parquet may hold 50 as 50.0
        if number < least or (most is not None and number > most):
            raise ValueError(text)
        return number

    return read, f"a whole number from {least}" + (f" to {most}" if most is not None else "")


def number(least: float, or_word: str | None = None) -> Any:
    """How to read a number, or None for a word in its place, and what to tell of it."""

    def read(text: str) -> float | None:
        if text == or_word:
            return None
        value = float(text)
        if not least <= value < math.inf:
            raise ValueError(text)
        return value

    return read, f"a number from {least:g}" + (f", or {or_word}" if or_word else "")


def choice(values: Mapping[str, Any]) -> Any:
    """How to read one of some words, and what to tell of it."""
    return lambda text: values[text.lower()], " or ".join(values)


def setting(default: Any, reading: tuple[Callable[[str], Any], str]) -> Any:
    """A field that is read from a cell."""
    return field(default=default, metadata={"reading": reading})


@dataclass(frozen=True)
class Settings:
    """How a row is painted; the arguments of `pipeline.paint`."""

    seed: int = setting(0, integer(0, LARGEST_SEED))
    steps: int = setting(50, integer(1, NUM_TIMESTEPS))
    cfg: float = setting(5.0, number(0))
    sampler: str = setting("plms", choice({name: name for name in SAMPLERS}))
    context: float | None = setting(2.0, number(1, WHOLE))
    resolution: int = setting(512, integer(MIN_RESOLUTION))
    feather: int = setting(0, integer(0))
    match_color: bool = setting(True, choice({"true": True, "false": False}))

    @classmethod
    def read(cls, cells: Mapping[str, str | None], defaults: Settings) -> Settings:
        """Settings of a row; empty cells are the defaults.

        Raises:
            RowError: a cell holds what the setting does not take.
        """
        values = asdict(defaults)
        for each in fields(cls):
            text = (cells.get(each.name) or "").strip()
            if not text:
                continue
            read, wanted = each.metadata["reading"]
            try:
                values[each.name] = read(text)
            except (ValueError, KeyError) as error:
                raise RowError(f"{each.name} is {text!r}; it must be {wanted}.") from error
        return cls(**values)


@dataclass(frozen=True)
class Row:
    """A picture to paint.

    Attributes:
        id: names the result.
        image: path or URL, as the table has it; so the other two.
        mask: white = repaint.
        exemplar: what to paint.
        exemplar_mask: white = the object in the exemplar; None = all of it.
        settings: how to paint it.
    """

    id: str
    image: str
    mask: str
    exemplar: str
    exemplar_mask: str | None
    settings: Settings

    @classmethod
    def read(cls, cells: Mapping[str, str | None], defaults: Settings) -> Row:
        """A row of text cells, its id checked before.

        Raises:
            RowError: a path is missing, or a setting is wrong.
        """
        paths = {name: (cells.get(name) or "").strip() for name in PATHS}
        for name in REQUIRED_PATHS:
            if not paths[name]:
                raise RowError(f"The cell {name} is empty.")
        return cls(
            id=cells["id"] or "",
            image=paths["image"],
            mask=paths["mask"],
            exemplar=paths["exemplar"],
            exemplar_mask=paths["exemplar_mask"] or None,
            settings=Settings.read(cells, defaults),
        )

    def digest(self, model: str) -> str:
        """What the picture is made of, in 16 digits: a model, paths and settings.

        Args:
            model: fingerprint of the model.
        """
        text = json.dumps([model, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


REQUIRED_PATHS = ("image", "mask", "exemplar")
PATHS = (*REQUIRED_PATHS, "exemplar_mask")
COLUMNS = ("id", *PATHS, *(each.name for each in fields(Settings)))
"""All that a table may have."""
REQUIRED_COLUMNS = ("id", *REQUIRED_PATHS)
