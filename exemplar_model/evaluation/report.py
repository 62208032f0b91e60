"""The report: one HTML file, and the same numbers as JSON and CSV."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from ..files import written_whole
from .score import Score
from .scoring import Method
from .sets import Item
from .views import open_picture

SHOWN = 4
"""Best, median and worst pictures of the report, of each."""
SIDE = 192
"""Pixels of a picture in contact sheets."""
REGION_SCORE = "region CLIP score"
NOTES = {
    "CLIP Fréchet distance": "What the paper calls FID; lower is better.",
    "Inception FID": "Lower is better.",
    "QS": "With the authors' mixture; higher is better.",
    "QS (refit)": "With a mixture fitted anew, not to be compared with published QS; higher is "
    "better.",
    REGION_SCORE: "Higher is not better: copy and paste wins it, as the measure asks for likeness "
    "alone and not for a picture that holds together.",
    "CLIP foreground similarity": "Likeness alone, as above.",
    "DINO foreground similarity": "Likeness alone, as above.",
    "CLIP Fréchet distance of foregrounds": "To the true contents of the holes; lower is better.",
    "background PSNR, dB": "Infinite where nothing outside the mask changed.",
    "background SSIM": "Higher is better; 1 where nothing outside the mask changed.",
    "background LPIPS": "Lower is better; 0 where nothing outside the mask changed.",
}
PAGE = """<!doctype html>
<meta charset=utf-8>
<title>Evaluation</title>
<style>
  body {font: 15px sans-serif; max-width: 80em; margin: 2em auto; padding: 0 1em}
  table {border-collapse: collapse; display: block; overflow-x: auto}
  td, th {border: 1px solid #ccc; padding: .3em .8em; text-align: right}
  td {white-space: nowrap}
  td:first-child, th:first-child {text-align: left}
  small {color: #666}
  img {max-width: 100%}
  .sortable th {cursor: pointer; text-decoration: underline dotted}
</style>
<h1>Evaluation</h1>
<p>{{ settings.items() | map("join", ": ") | join("; ") }}</p>
<h2>Scores</h2>
<table>
<tr><th>method{% for name in names %}<th>{{ name }}{% endfor %}</tr>
{% for method, scores in table.items() %}
<tr><td>{{ method }}{% for name in names %}<td>{% if name in scores -%}
{{ scores[name].value | number }}
{%- if scores[name].interval %}<br><small>{{ scores[name].interval | map("number") | join(" … ") }}
</small>{% endif %}{% endif %}{% endfor %}</tr>
{% endfor %}
</table>
<p>Small: 95 % bootstrap intervals over seeds, and over pictures where each has a value.</p>
<ul>
{% for name in names %}
<li><b>{{ name }}</b>: {{ notes[name] }}
{%- if backbones[name] %} By {{ backbones[name] }}.{% endif %}
{% endfor %}
</ul>
<h2>{{ by }} of the pictures</h2>
<img src="{{ plot }}" alt="distribution">
{% for title, contact_sheet in contact_sheets.items() %}
<h2>{{ title }} of {{ first }}</h2>
<p>By {{ by }}. From left to right: picture, mask, exemplar, result.</p>
<img src="{{ contact_sheet }}" alt="{{ title }}">
{% endfor %}
<h2>Pictures of {{ first }}</h2>
<p>Means over seeds; click a column to sort.</p>
<table class=sortable>
<tr><th>id{% for name in columns %}<th>{{ name }}{% endfor %}</tr>
{% for row in rows %}
<tr><td>{{ row[0] }}{% for value in row[1:] %}<td data-value="{{ value }}">{{ value | number }}
{%- endfor %}</tr>
{% endfor %}
</table>
<script>
for (const table of document.querySelectorAll(".sortable"))
  table.rows[0].addEventListener("click", event => {
    const column = event.target.cellIndex, rows = [...table.rows].slice(1)
    const falling = event.target.dataset.falling = event.target.dataset.falling === "1" ? "0" : "1"
    const key = row => row.cells[column].dataset.value ?? row.cells[column].innerText
    const compare = (a, b) => column ? Number(a) - Number(b) : a.localeCompare(b)
    const number = text => text === "inf" ? "Infinity" : text
    rows.sort((a, b) => compare(number(key(a)), number(key(b))) * (falling === "1" ? -1 : 1))
    table.tBodies[0].append(...rows)
  })
</script>
"""


@dataclass(frozen=True)
class Scored:
    """A method and its scores."""

    method: Method
    scores: list[Score]

    def values(self, name: str) -> Any:
        """Means over seeds of a measure on each picture, [n]; None if not all have one."""
        for score in self.scores:
            if score.name == name and score.per_picture is not None:
                return score.per_picture.mean(axis=0)
        return None


def write_report(
    folder: Path, items: Sequence[Item], methods: Sequence[Scored], settings: dict[str, str]
) -> Path:
    """Write `report.html`, `scores.json`, `scores.csv` and `pictures.csv`.

    Args:
        folder: where to.
        items: the set.
        methods: all rows of the table; contact sheets and single pictures are of the first.
        settings: what to say about the run.

    Returns:
        The path of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_scores(folder, methods, settings)
    _write_pictures(folder / "pictures.csv", items, methods)
    names = list(dict.fromkeys(score.name for each in methods for score in each.scores))
    first = methods[0]
    by = REGION_SCORE if first.values(REGION_SCORE) is not None else "background SSIM"
    order = np.argsort(-first.values(by), kind="stable")
    middle = max(0, (len(order) - SHOWN) // 2)
    chosen = {
        "Best": order[:SHOWN],
        "Median": order[middle : middle + SHOWN],
        "Worst": order[::-1][:SHOWN],
    }
    columns = [score.name for score in first.scores if first.values(score.name) is not None]
    values = np.stack([first.values(name) for name in columns], axis=1)
    environment = Environment(autoescape=True)
    environment.filters["number"] = _number
    page = environment.from_string(PAGE).render(
        settings=settings,
        names=names,
        notes=NOTES,
        table={each.method.name: {s.name: s for s in each.scores} for each in methods},
        backbones={score.name: score.backbone for each in methods for score in each.scores},
        by=by,
        plot=_plot(methods, by),
        contact_sheets={
            title: _embedded(_contact_sheet(first.method, [items[each] for each in numbers]))
            for title, numbers in chosen.items()
        },
        first=first.method.name,
        columns=columns,
        rows=[[item.id, *map(float, row)] for item, row in zip(items, values, strict=True)],
    )
    target = folder / "report.html"
    with written_whole(target) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return target


def _write_scores(folder: Path, methods: Sequence[Scored], settings: dict[str, str]) -> None:
    rows = [
        {
            "method": each.method.name,
            "score": score.name,
            "value": _plain(score.value),
            "low": _plain(score.interval[0]) if score.interval else None,
            "high": _plain(score.interval[1]) if score.interval else None,
            "pictures": score.n,
            "seeds": len(each.method.folders),
            "backbone": score.backbone,
        }
        for each in methods
        for score in each.scores
    ]
    with written_whole(folder / "scores.json") as unfinished:
        content = {"settings": settings, "scores": rows}
        unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    with (
        written_whole(folder / "scores.csv") as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_pictures(path: Path, items: Sequence[Item], methods: Sequence[Scored]) -> None:
    with (
        written_whole(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["method", "folder", "id", "score", "value"])
        for each in methods:
            for score in each.scores:
                if score.per_picture is None:
                    continue
                for folder, values in zip(each.method.folders, score.per_picture, strict=True):
                    for item, value in zip(items, values, strict=True):
                        writer.writerow([each.method.name, folder.name, item.id, score.name, value])


def _plot(methods: Sequence[Scored], by: str) -> str:
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(7, 0.5 + 0.45 * len(methods)), layout="constrained")
        axes = figure.subplots()
        values = [each.values(by) for each in methods]
        axes.boxplot(values, orientation="horizontal")
        axes.set_yticks(range(1, len(methods) + 1), [each.method.name for each in methods])
        axes.invert_yaxis()
        axes.set_xlabel(f"{by}; boxes are quartiles")
        target = io.BytesIO()
        figure.savefig(target, format="png", dpi=120)
    return _address(target)


def _contact_sheet(method: Method, items: Sequence[Item]) -> Image.Image:
    sheet = Image.new("RGB", (4 * SIDE, len(items) * SIDE), "white")
    for row, item in enumerate(items):
        files = item.image, item.mask, item.exemplar, method.folders[0] / f"{item.id}.png"
        for column, file in enumerate(files):
            picture = ImageOps.contain(open_picture(file).convert("RGB"), (SIDE, SIDE))
            sheet.paste(picture, (column * SIDE, row * SIDE))
    return sheet


def _embedded(picture: Image.Image) -> str:
    target = io.BytesIO()
    picture.save(target, "PNG")
    return _address(target)


def _address(png: io.BytesIO) -> str:
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "∞"


def _plain(value: float) -> float | str:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else "inf"
