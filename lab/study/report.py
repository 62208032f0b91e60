"""The report: tables and contact sheets as HTML, and the tables as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from torch import Tensor

from exemplar_model.image import to_bytes

CELL, CAPTION = 128, 22
STYLE = (
    "body{font:15px sans-serif;max-width:75em;margin:2em auto}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.3em .8em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%;margin:1em 0}"
)


@dataclass(frozen=True)
class Section:
    """One question with its answer.

    Attributes:
        title, text: what was measured.
        columns, rows: the table.
        sheets: contact sheets by file name.
    """

    title: str
    text: str
    columns: list[str]
    rows: list[list[str]]
    sheets: dict[str, Image.Image]


def write_report(folder: Path, sections: list[Section], settings: dict[str, Any]) -> Path:
    """Write `report.html`, its sheets and `tables.md`; returns the path of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    made_with = ", ".join(f"{name} {value}" for name, value in settings.items())
    html = [f"<!doctype html><meta charset=utf-8><title>Study</title><style>{STYLE}</style>"]
    html.append(f"<h1>Study</h1><p>{escape(made_with)}</p>")
    markdown = [f"Made with {made_with}.\n"]
    for section in sections:
        html.append(f"<h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>")
        html.append(f"<table><tr>{_cells('th', section.columns)}</tr>")
        html += [f"<tr>{_cells('td', row)}</tr>" for row in section.rows]
        html.append("</table>")
        for name, picture in section.sheets.items():
            picture.save(folder / name)
            html.append(f'<img src="{name}" alt="{escape(section.title)}">')
        markdown += [
            f"## {section.title}\n",
            f"{section.text}\n",
            markdown_table(section.columns, section.rows),
        ]
    target = folder / "report.html"
    target.write_text("\n".join(html), encoding="utf-8")
    (folder / "tables.md").write_text("\n".join(markdown), encoding="utf-8")
    return target


def sheet(captions: list[str], rows: list[list[Image.Image]], cell: int = CELL) -> Image.Image:
    """Pictures in rows under captions, each in a square cell of so many pixels."""
    size = (len(captions) * cell, len(rows) * cell + CAPTION)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for column, caption in enumerate(captions):
        caption = caption.replace("×", "x")  # Pillow's own font has no multiplication sign
        draw.text((column * cell + 3, 4), caption, fill="black", font_size=11)
    for row, pictures in enumerate(rows):
        for column, each in enumerate(pictures):
            place = (column * cell, CAPTION + row * cell)
            picture.paste(each.resize((cell, cell)), place)
    return picture


def to_image(pixels: Tensor) -> Image.Image:
    """A picture of [H, W, 3] in [0, 1]."""
    return Image.fromarray(to_bytes(pixels))


def _cells(tag: str, values: list[str]) -> str:
    return "".join(f"<{tag}>{escape(value)}</{tag}>" for value in values)


def markdown_table(columns: list[str], rows: list[list[str]]) -> str:
    """With a line break at the end."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
