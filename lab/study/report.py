"""The report: tables and pictures as HTML, and the tables as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from PIL import Image
from torch import Tensor

from exemplar_model.image import to_bytes

PAGE = """<!doctype html>
<meta charset=utf-8>
<title>Study</title>
<style>
  body {font: 15px sans-serif; max-width: 75em; margin: 2em auto}
  table {border-collapse: collapse}
  td, th {border: 1px solid #ccc; padding: .3em .8em; text-align: right}
  td:first-child, th:first-child {text-align: left}
  img {max-width: 100%; margin: 1em 0}
</style>
<h1>Study</h1>
<p>{{ made_with }}</p>
{% for section in sections %}
<h2>{{ section.title }}</h2>
<p>{{ section.text }}</p>
<table>
<tr>{% for cell in section.columns %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% for name in section.pictures %}
<img src="{{ name }}" alt="{{ section.title }}">
{% endfor %}
{% endfor %}
"""


@dataclass(frozen=True)
class Section:
    """One question with its answer.

    Attributes:
        title, text: what was measured.
        columns, rows: the table.
        pictures: by file name.
    """

    title: str
    text: str
    columns: list[str]
    rows: list[list[str]]
    pictures: dict[str, Image.Image]


def write_report(folder: Path, sections: list[Section], settings: dict[str, Any]) -> Path:
    """Write `report.html`, its pictures and `tables.md`; returns the path of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    made_with = ", ".join(f"{name} {value}" for name, value in settings.items())
    markdown = [f"Made with {made_with}.\n"]
    for section in sections:
        for name, picture in section.pictures.items():
            picture.save(folder / name)
        table = markdown_table(section.columns, section.rows)
        markdown += [f"## {section.title}\n", f"{section.text}\n", table]
    page = Environment(autoescape=True).from_string(PAGE)
    target = folder / "report.html"
    target.write_text(page.render(made_with=made_with, sections=sections), encoding="utf-8")
    (folder / "tables.md").write_text("\n".join(markdown), encoding="utf-8")
    return target


def to_image(pixels: Tensor) -> Image.Image:
    """A picture of [H, W, 3] in [0, 1]."""
    return Image.fromarray(to_bytes(pixels))


def markdown_table(columns: list[str], rows: list[list[str]]) -> str:
    """With a line break at the end."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
