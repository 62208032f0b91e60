"""Measure seams, poor exemplars and smaller weights on held-out pictures; write a report.

`nox -s study` prints the tables, writes `lab/output/study/tables.md` (for docs/study.md), and
writes `lab/output/study/report.html` with its contact sheets.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from exemplar_model.standalone.components import Components
from exemplar_model.weights.checkpoint import read_checkpoint
from lab.tiny_model.held_out import objects, scenes
from lab.tiny_model.transfer import add_settings

from .cases import Case, clean_exemplars, paint_cases
from .painter import Painter
from .poor_exemplars import POOR
from .precision import study_precision
from .report import Section, write_report
from .robustness import study_exemplars
from .seam_pass import study_seam_pass
from .seams import study_seams
from .solver_results import Task

console = Console()


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(prog="study", description=__doc__)
    add_settings(parser)
    parser.add_argument("--comfyui", type=Path, required=True, help="folder of ComfyUI")
    parser.add_argument("--output", type=Path, default=Path("lab/output/study"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    components = Components.from_checkpoint(read_checkpoint(arguments.model))
    settings = {name: getattr(arguments, name) for name in ("steps", "cfg", "resolution", "seed")}
    painter = Painter(arguments.comfyui, arguments.model, arguments.resolution)
    setting = Task("dpmpp_2m", "karras", arguments.steps, arguments.cfg)
    sections = [
        seams(components, settings),
        study_seam_pass(painter, setting, arguments.seed),
        exemplars(components, settings),
        study_precision(painter, setting),
    ]
    for section in sections:
        console.print(as_table(section))
    target = write_report(arguments.output, sections, settings | {"model": arguments.model.name})
    console.print(f"Report: {target}", soft_wrap=True)


def seams(components: Components, settings: dict[str, Any]) -> Section:
    """Every object in every scene, pasted in every way."""
    cases: list[Case] = []
    pairs = list(zip(scenes(), clean_exemplars(), strict=True))
    for scene, pictures in track(pairs, "Painting for seams", console=console):
        cases += paint_cases(components, scene, pictures, settings)
    return study_seams(components, cases)


def exemplars(components: Components, settings: dict[str, Any]) -> Section:
    """Every object, shown well and badly, in every scene."""
    things, places = objects(), scenes()
    cases: dict[str, list[Case]] = {name: [] for name in POOR}
    for name, spoil in track(POOR.items(), "Poor exemplars", console=console):
        for number, scene in enumerate(places):
            shown = [spoil(thing, places[(number + 1) % len(places)]) for thing in things]
            cases[name] += paint_cases(components, scene, shown, settings)
    return study_exemplars(components, cases)


def as_table(section: Section) -> Table:
    """A section's table, for the terminal."""
    table = Table(*section.columns, title=section.title)
    for row in section.rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
