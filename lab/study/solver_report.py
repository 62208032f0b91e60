"""Plot and tables of the solver study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .report import Section, markdown_table
from .solver_results import Task

YARDSTICK = ("plms", "ddim_uniform", 50)
"""The reference's sampler, schedule and number of steps."""
SHOWN_STEPS = (25, 50)
"""Half of the reference's steps, and all."""

Entries = dict[str, dict[str, float]]


def write_solver_report(
    folder: Path,
    entries: Entries,
    finalists: Sequence[Task],
    screened: Sequence[Task],
    intervals: Section,
) -> None:
    """Write `solvers.png` and `solvers.md`."""
    plot(entries, finalists).savefig(folder / "solvers.png", dpi=110)
    text = [
        finalist_table(entries, finalists),
        error_table(entries, finalists),
        screening_table(entries, screened),
        f"{intervals.text}\n",
        markdown_table(intervals.columns, intervals.rows),
    ]
    for name, picture in intervals.pictures.items():
        picture.save(folder / name)
    (folder / "solvers.md").write_text("\n".join(text), encoding="utf-8")


def plot(entries: Entries, tasks: Sequence[Task]) -> Figure:
    """Error over evaluations, one panel a guidance scale, both axes logarithmic."""
    cfgs = sorted({task.cfg for task in tasks})
    figure = Figure(figsize=(5 * len(cfgs), 5), layout="constrained")
    axes: Any = figure.subplots(1, len(cfgs), sharey=True, squeeze=False)[0]
    for cfg, axis in zip(cfgs, axes, strict=True):
        for solver in solvers(tasks):
            points = [
                (entries[task.key]["evaluations"], entries[task.key]["error"])
                for task in tasks
                if task.solver == solver and task.cfg == cfg
            ]
            reference = solver == YARDSTICK[:2]
            style = {"color": "black", "linewidth": 2.5} if reference else {}
            axis.loglog(*zip(*sorted(points), strict=True), "o-", label=" ".join(solver), **style)
        axis.set_title(f"cfg {cfg:g}")
        axis.set_xlabel("UNet evaluations")
        axis.grid(True, which="both", alpha=0.3)
    axes[0].set_ylabel("error against the converged latents")
    axes[-1].legend(fontsize=8)
    return figure


def finalist_table(entries: Entries, tasks: Sequence[Task]) -> str:
    """Fewest steps and evaluations at which each solver is as close as PLMS with 50 steps."""
    cfgs = sorted({task.cfg for task in tasks})
    lines: list[list[str]] = []
    for solver in solvers(tasks):
        cells = [" ".join(solver)]
        for cfg in cfgs:
            yardstick = next(
                entries[task.key]
                for task in tasks
                if (*task.solver, task.steps) == YARDSTICK and task.cfg == cfg
            )
            close = [
                (entries[task.key]["evaluations"], task.steps)
                for task in tasks
                if task.solver == solver
                and task.cfg == cfg
                and entries[task.key]["error"] <= yardstick["error"]
            ]
            cells.append("{1} steps, {0:g}".format(*min(close)) if close else "–")
        lines.append(cells)
    return markdown_table(["solver", *(f"cfg {cfg:g}" for cfg in cfgs)], lines)


def error_table(entries: Entries, tasks: Sequence[Task]) -> str:
    """Error and difference of the pictures, of 255, of each solver at the reference's steps."""
    cfgs = sorted({task.cfg for task in tasks})
    lines: list[list[str]] = []
    for solver in solvers(tasks):
        for steps in SHOWN_STEPS:
            found = [entries[Task(*solver, steps, cfg).key] for cfg in cfgs]
            errors = (f"{entry['error']:.4f}, {entry['pixels']:.2f}" for entry in found)
            evaluations = f"{max(entry['evaluations'] for entry in found):g}"
            lines.append([" ".join(solver), str(steps), evaluations, *errors])
    columns = ["solver", "steps", "evaluations", *(f"cfg {cfg:g}" for cfg in cfgs)]
    return markdown_table(columns, lines)


def screening_table(entries: Entries, tasks: Sequence[Task]) -> str:
    """Every sampler and scheduler: error and evaluations, best first."""
    lines: list[list[str]] = []
    for task in sorted(tasks, key=lambda task: entries[task.key]["error"]):
        entry = entries[task.key]
        numbers = f"{entry['evaluations']:g}", f"{entry['error']:.4f}", f"{entry['pixels']:.2f}"
        lines.append([f"{task.sampler} {task.scheduler}", str(task.steps), *numbers])
    return markdown_table(["solver", "steps", "evaluations", "error", "pixels"], lines)


def solvers(tasks: Sequence[Task]) -> list[tuple[str, str]]:
    """Sampler and scheduler, in order, each once."""
    return list(dict.fromkeys(task.solver for task in tasks))
