"""What was measured on pictures of objects in rooms, summed up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

PASTED = {"same view": "cut-and-paste", "other view": "cut-and-paste, other view"}
"""What a result is compared with, by its exemplar; others are compared with the first."""
MEASURES = ("top1", "top5", "silhouette", "shadow", "light", "less_shadow", "less_light", "kept")
SHARES = ("top1", "top5", "less_shadow", "less_light")
RESAMPLES = 2000
Interval = tuple[float, float, float]
"""Value, and both ends of its interval."""


@dataclass(frozen=True)
class Record:
    """What was measured on one picture.

    Attributes:
        kind: by which exemplar it was painted, or how it was made without the model.
        room, name, seed: which room, object and start noise.
        rank: how many objects it resembles more than the one that belongs there.
        silhouette: intersection over union.
        shadow, light: errors, of 255.
        kept: dB, 100 where the kept pixels are the room's own.
        less_shadow, less_light: less error than cut-and-paste has.
    """

    kind: str
    room: int
    name: str
    seed: int
    rank: int
    silhouette: float
    shadow: float
    light: float
    kept: float
    less_shadow: bool = False
    less_light: bool = False


def compare_with_pasting(records: list[Record]) -> list[Record]:
    """The same records, which know now whether cut-and-paste of the same exemplar is worse."""
    pasted = {(each.kind, each.room, each.name): each for each in records}
    compared: list[Record] = []
    for each in records:
        other = pasted[PASTED.get(each.kind, "cut-and-paste"), each.room, each.name]
        less_shadow, less_light = each.shadow < other.shadow, each.light < other.light
        compared.append(replace(each, less_shadow=less_shadow, less_light=less_light))
    return compared


def summarize(records: list[Record]) -> dict[str, dict[str, Interval]]:
    """By kind and measure: the median, or the share of results of which it is true."""
    summary: dict[str, dict[str, Interval]] = {}
    for kind in dict.fromkeys(each.kind for each in records):
        own = sorted((each for each in records if each.kind == kind), key=lambda each: each.name)
        ranks = np.array([each.rank for each in own])
        values = {"top1": ranks < 1, "top5": ranks < 5}
        for measure in MEASURES[2:]:
            values[measure] = np.array([getattr(each, measure) for each in own], float)
        objects = len({each.name for each in own})
        summary[kind] = {
            measure: bootstrap(values[measure].reshape(objects, -1), measure in SHARES)
            for measure in MEASURES
        }
    return summary


def bootstrap(values: np.ndarray[Any, Any], share: bool) -> Interval:
    """Mean or median of values [objects, ...], and where 95 % of it lie, objects redrawn."""
    statistic = np.mean if share else np.median
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    redrawn = statistic(values[draws].reshape(RESAMPLES, -1), axis=1)
    low, high = np.quantile(redrawn, (0.025, 0.975), method="nearest")
    return float(statistic(values)), float(low), float(high)


def as_table(summary: dict[str, dict[str, Interval]]) -> Table:
    """The numbers, for people: value and interval, in the order of `MEASURES`."""
    table = Table("", "top-1", "top-5", "IoU", box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("shadow", "light", "less\nshadow", "less\nlight", "kept,\ndB"):
        table.add_column(title)
    for kind, measures in summary.items():
        table.add_row(kind, *(_cell(measure, *measures[measure]) for measure in MEASURES))
    return table


def _cell(measure: str, *interval: float) -> str:
    if measure in SHARES:
        value, *ends = (f"{100 * each:.0f}" for each in interval)
        value += " %"
    elif measure == "silhouette":
        value, *ends = (f"{each:.2f}".lstrip("0") for each in interval)
    else:
        value, *ends = (f"{each:.{int(each < 10 or measure == 'kept')}f}" for each in interval)
    return value if ends[0] == ends[1] else f"{value}\n{'–'.join(ends)}"
