"""Gates: which pictures a person should look at, as a table and as a contact sheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ...exemplar import exemplar_view
from ...files import written_whole
from ...image import to_bytes
from .pictures import Record, decode_image, decode_mask, picture_path, read_bytes, read_exemplar
from .rows import Row

CELL, CAPTION = 192, 18
"""Width and height of a picture on the contact sheet, and height of the line above, in pixels."""
SHOWN = 40
EDGE_COLOR = (255, 25, 100)
"""Of the masked area, on the picture."""


@dataclass(frozen=True)
class Gates:
    """Limits beyond which a picture is listed.

    Attributes:
        max_seam: of `Record.seam`.
        min_likeness: of `Record.likeness`.
    """

    max_seam: float = 20.0
    min_likeness: float = 0.2

    def reasons(self, record: Record) -> list[str]:
        """Why a picture should be looked at; none if it passes."""
        return [
            *(["changed outside the mask"] if record.outside > 0 else []),
            *(["visible seam"] if record.seam > self.max_seam else []),
            *(["little likeness"] if record.likeness < self.min_likeness else []),
        ]

    def flagged(self, records: Iterable[Record]) -> list[Record]:
        """Those that do not pass, the most suspicious first."""
        found = [record for record in records if self.reasons(record)]
        return sorted(found, key=lambda each: (-each.outside, each.likeness, -each.seam))


def write_review(out: Path, records: Sequence[Record], gates: Gates) -> Path:
    """Write `review.csv`: one line per picture to look at."""
    file = out / "review.csv"
    header = ("id", "reasons", "outside", "seam", "likeness", "picture")
    rows = (
        (
            record.id,
            "; ".join(gates.reasons(record)),
            record.outside,
            record.seam,
            record.likeness,
            picture_path(Path(), record.id).as_posix(),
        )
        for record in records
    )
    _write_csv(file, header, rows)
    return file


def write_failures(out: Path, failures: dict[str, str]) -> Path:
    """Write `failed.csv`: id and reason of the rows that this run could not paint."""
    file = out / "failed.csv"
    _write_csv(file, ("id", "reason"), failures.items())
    return file


def _write_csv(file: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    with written_whole(file) as unfinished:
        unfinished.write_text(text.getvalue())


def write_contact_sheet(
    out: Path, rows: Sequence[tuple[Row, Record]], folder: str, gates: Gates
) -> Path:
    """Draw `review.jpg`: picture with mask, exemplar and result of some rows, captioned.

    Args:
        out: folder of the run.
        rows: what to show, from the top.
        folder: of the table.
        gates: for the captions.
    """
    sheet = Image.new("RGB", (3 * CELL, len(rows) * (CELL + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (row, record) in enumerate(rows):
        top = number * (CELL + CAPTION)
        reasons = ", ".join(gates.reasons(record))
        caption = f"{record.id}: {reasons} (seam {record.seam:g}, likeness {record.likeness:.2f})"
        draw.text((4, top + CAPTION / 2), caption, fill="black", anchor="lm", font_size=11)
        with suppress(ValueError, OSError):  # a picture that is gone leaves its cell white
            cells = (
                _with_edge(row, folder),
                _exemplar(row, folder),
                Image.open(picture_path(out, record.id)),
            )
            for column, picture in enumerate(cells):
                cell = ImageOps.contain(picture.convert("RGB"), (CELL, CELL))
                sheet.paste(cell, (column * CELL, top + CAPTION))
    file = out / "review.jpg"
    with written_whole(file) as unfinished:
        sheet.save(unfinished, "JPEG", quality=90)
    return file


def _exemplar(row: Row, folder: str) -> Image.Image:
    """The exemplar as the encoder sees it, at another size."""
    image, mask = read_exemplar(row, folder)
    return Image.fromarray(to_bytes(exemplar_view(image, CELL, mask=mask)))


def _with_edge(row: Row, folder: str) -> Image.Image:
    """The picture with the masked area's edge drawn."""
    image = Image.fromarray(decode_image(read_bytes(row.image, folder, "image")))
    picture = ImageOps.contain(image.convert("RGB"), (CELL, CELL))
    hole = Image.fromarray(decode_mask(read_bytes(row.mask, folder, "mask")).numpy() >= 0.5)
    inside = np.pad(np.array(hole.resize(picture.size)), 1)
    around = [np.roll(inside, shift, axis) for axis in (0, 1) for shift in (-1, 1)]
    edge = (inside & ~np.logical_and.reduce(around))[1:-1, 1:-1]
    pixels = np.array(picture)
    pixels[edge] = EDGE_COLOR
    return Image.fromarray(pixels)
