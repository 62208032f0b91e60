"""Plots of the results."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from .tables import Result, ratio


def step_plot(result: Result) -> Figure:
    """Time of each contestant over that of diffusers."""
    contestants = result["contestants"]
    yardstick = contestants["diffusers"]["seconds"]
    bars = {name: ratio(entry["seconds"], yardstick) for name, entry in contestants.items()}
    return _bars({name: each.median for name, each in bars.items()}, "time / diffusers")


def stages_plot(result: Result) -> Figure:
    """Shares of the stages in a painting, side by side."""
    figure = Figure(figsize=(8, 2.5), layout="constrained")
    axis: Any = figure.subplots()
    runs = result["runs"]
    total = median(sum(run["seconds"].values()) for run in runs["diffusers"])
    left = dict.fromkeys(runs, 0.0)
    for stage in runs["ours"][0]["seconds"]:
        widths = {
            name: median(run["seconds"].get(stage, 0.0) for run in each) / total
            for name, each in runs.items()
        }
        axis.barh(list(widths), list(widths.values()), left=list(left.values()), label=stage)
        left = {name: left[name] + widths[name] for name in left}
    axis.set_xlabel("time / diffusers")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def growth_plot(result: Result) -> Figure:
    """Time and added memory over photo, regions and steps."""
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    axes: Any = figure.subplots(1, 3)
    panels = {"photo": "side of the photo, pixels", "regions": "regions", "steps": "steps"}
    for axis, (name, label) in zip(axes, panels.items(), strict=True):
        points = result[name]
        at = [int(each) for each in points]
        for key, of in (("seconds", "time"), ("bytes", "memory added")):
            values = [median(point[key]) for point in points.values()]
            # a painting that fits into memory that was free already adds none
            first = next((each for each in values if each > 0), 1)
            axis.plot(at, [each / first for each in values], "o-", label=of)
        axis.set_xlabel(label)
        axis.set_ylabel("relative to the first")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend()
    return figure


def loading_plot(result: Result) -> Figure:
    """Peak of memory over what the loaded model needs."""
    peaks = {
        name: median(run["peak"] / run["needed"] for run in runs)
        for name, runs in result["runs"].items()
    }
    return _bars(peaks, "peak of memory / needed")


def _bars(values: dict[str, float], label: str) -> Figure:
    figure = Figure(figsize=(7, 2.5), layout="constrained")
    axis: Any = figure.subplots()
    axis.barh(list(values)[::-1], list(values.values())[::-1])
    axis.axvline(1.0, color="black", linewidth=1)
    axis.set_xlabel(label)
    return figure


PLOTS: dict[str, Callable[[Result], Figure]] = {
    "step": step_plot,
    "stages": stages_plot,
    "growth": growth_plot,
    "loading": loading_plot,
}
