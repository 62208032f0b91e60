"""Measure seams, poor exemplars and smaller weights on held-out pictures; write a report.

`nox -s study` prints the tables, writes `lab/output/study/tables.md` (for docs/study.md), and
writes `lab/output/study/report.html` with its pictures.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from exemplar_model.standalone.components import Components
from exemplar_model.weights.checkpoint import read_checkpoint
from lab.arguments import tool_arguments
from lab.tiny_model.held_out import objects, scenes

from .host_sampler import HostSampler
from .painted_object import PaintedObject, clean_exemplars, paint_objects
from .poor_exemplars import POOR, study_exemplars
from .precision import study_precision
from .report import Section, write_report
from .seams import study_seams
from .solver_results import Task

console = Console()


def main() -> None:
    """Run the study."""
    parser = tool_arguments(__doc__, output="study", model=True)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--cfg", type=float, default=3.5)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    components = Components.from_checkpoint(read_checkpoint(arguments.model))
    settings = {name: getattr(arguments, name) for name in ("steps", "cfg", "resolution", "seed")}
    sampler = HostSampler(arguments.comfyui, arguments.model, arguments.resolution)
    setting = Task("dpmpp_2m", "karras", arguments.steps, arguments.cfg)
    sections = [
        seams(components, settings),
        exemplars(components, settings),
        study_precision(sampler, setting),
    ]
    for section in sections:
        console.print(as_table(section))
    target = write_report(arguments.output, sections, settings | {"model": arguments.model.name})
    console.print(f"Report: {target}", soft_wrap=True)


def seams(components: Components, settings: dict[str, Any]) -> Section:
    """Every object in every scene, pasted in every way."""
    painted: list[PaintedObject] = []
    pairs = list(zip(scenes(), clean_exemplars(), strict=True))
    for scene, pictures in track(pairs, "Painting for seams", console=console):
        painted += paint_objects(components, scene, pictures, settings)
    return study_seams(components, painted)


def exemplars(components: Components, settings: dict[str, Any]) -> Section:
    """Every object, shown well and badly, in every scene."""
    things, places = objects(), scenes()
    kinds: dict[str, list[PaintedObject]] = {name: [] for name in POOR}
    for name, spoil in track(POOR.items(), "Poor exemplars", console=console):
        for number, scene in enumerate(places):
            shown = [spoil(thing, places[(number + 1) % len(places)]) for thing in things]
            kinds[name] += paint_objects(components, scene, shown, settings)
    return study_exemplars(components, kinds)


def as_table(section: Section) -> Table:
    """A section's table, for the terminal."""
    table = Table(*section.columns, title=section.title)
    for row in section.rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
