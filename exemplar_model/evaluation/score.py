"""A number with what makes it readable: interval, backbone and count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """One number of a table.

    Attributes:
        name: what was measured.
        value: the mean over seeds, and over pictures where each picture has a value.
        interval: bootstrap interval of `LEVEL` around it; None where nothing can be resampled.
        backbone: the network that made it; None for measures on pixels.
        n: pictures of each seed that it was made from.
        per_picture: [seeds, pictures], also of those that do not count; None for measures on the
            whole set.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    backbone: str | None
    n: int
    per_picture: Array | None = None


def mean_score(
    name: str, values: Array, backbone: str | None = None, counted: int | None = None
) -> Score:
    """Score of a measure on each picture: values [seeds, pictures].

    Args:
        name: of the score.
        values: all of them.
        backbone: the network that made them.
        counted: how many pictures, from the first on, go into mean and interval; all if None.
    """
    used = values[:, :counted]
    return Score(
        name, float(used.mean()), bootstrap_interval(used), backbone, used.shape[1], values
    )


def set_score(name: str, values: list[float], n: int, backbone: str | None = None) -> Score:
    """Score of a measure on the whole set: one value per seed.

    Pictures are not resampled: a resample has fewer distinct pictures, and a Fréchet distance grows
    as they get fewer. With one seed there is no interval.
    """
    interval = bootstrap_interval(np.array(values)[:, None])
    return Score(name, float(np.mean(values)), interval, backbone, n)


def bootstrap_interval(values: Array, seed: int = 0) -> tuple[float, float] | None:
    """Percentile bootstrap of the mean of values [seeds, pictures], both drawn with replacement.

    Returns:
        Lower and upper end, the same for the same values; None for a single value.
    """
    if values.size < 2:
        return None
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for resample in range(RESAMPLES):
        seeds, pictures = (rng.integers(length, size=length) for length in values.shape)
        means[resample] = values[np.ix_(seeds, pictures)].mean()
    # the nearest value, as means of infinite PSNRs cannot be interpolated
    ends = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return float(ends[0]), float(ends[1])
