"""Pictures in and out: read from anywhere, written whole and with the record of their painting."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ...files import written_whole
from .errors import RowError, reason_of
from .rows import Row
from .table import resolve

RECORD = "exemplar_model"
"""Key of the record in a picture's text."""
COMPRESSION = 1
"""Of PNG, of 9: a photo at 512² to 4096² is 2 to 17 % larger than with Pillow's 6, in half the
time."""
ORIENTATION, TURNED = 0x0112, 5
"""The EXIF tag of a picture's rotation, and from which value on width and height are exchanged."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Record:
    """What is known of a finished picture, and kept in its file.

    Attributes:
        id: of its row.
        digest: of model, pictures and settings, see `Row.digest`.
        outside: largest change, of 255, beyond the mask and its feather; 0 in a sound run.
        seam: false gradient around the mask, of 255, see `measures.seam`.
        likeness: cosine of CLIP's class tokens of the painted area and of the exemplar, both after
            the tower's last layer norm and before the mapper; −1…1.
    """

    id: str
    digest: str
    outside: int
    seam: float
    likeness: float


@contextmanager
def told(name: str, path: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file into the reason that a user reads."""
    try:
        yield
    except FileNotFoundError as error:
        raise RowError(f"The {name} {path} does not exist.") from error
    except Exception as error:  # every file system and decoder has its own
        raise RowError(f"The {name} {path} cannot be read ({reason_of(error)}).") from error


def read_bytes(path: str, folder: str, name: str) -> bytes:
    """All of a file.

    Args:
        path: as the table has it.
        folder: of the table.
        name: what it is, for the message.

    Raises:
        RowError: absent or unreadable.
    """
    with told(name, path):
        opened: Any = fsspec.open(resolve(path, folder), "rb")  # typed as one file or several
        with opened as file:
            return file.read()


def size_of(data: bytes) -> tuple[int, int]:
    """(height, width) of a picture as it is to be seen, without decoding it."""
    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        turned = picture.getexif().get(ORIENTATION, 1) >= TURNED
    return (width, height) if turned else (height, width)


def decode_image(data: bytes) -> Pixels:
    """[H, W, 3], or 4 with alpha, turned as EXIF says."""
    with Image.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture)
        return np.array(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))


def decode_mask(data: bytes) -> Tensor:
    """[H, W] in [0, 1]."""
    with Image.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I;16"):
            return torch.tensor(np.array(upright).astype(np.float32)) / 65535
        return torch.tensor(np.array(upright.convert("L"))).float() / 255


def read_exemplar(row: Row, folder: str) -> tuple[Tensor, Tensor | None]:
    """A row's exemplar [H, W, C] and, if it has one, its mask [h, w], both in [0, 1].

    Raises:
        RowError: a file is absent or unreadable.
    """
    mask = None
    if row.exemplar_mask is not None:
        file = read_bytes(row.exemplar_mask, folder, "exemplar mask")
        with told("exemplar mask", row.exemplar_mask):
            mask = decode_mask(file)
    file = read_bytes(row.exemplar, folder, "exemplar")
    with told("exemplar", row.exemplar):
        return torch.tensor(decode_image(file)).float() / 255, mask


def picture_path(out: Path, row_id: str) -> Path:
    """Where a row's picture goes: two levels of folders by hash, as no folder holds a million."""
    digest = hashlib.sha256(row_id.encode()).hexdigest()
    return out / "pictures" / digest[:2] / digest[2:4] / f"{row_id}.png"


def write_picture(out: Path, pixels: Pixels, record: Record) -> None:
    """Write a PNG that holds its record; it appears whole or not at all."""
    path = picture_path(out, record.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = PngInfo()
    text.add_text(RECORD, json.dumps(asdict(record)))
    with written_whole(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, "PNG", compress_level=COMPRESSION, pnginfo=text)


def read_record(out: Path, row_id: str) -> Record | None:
    """The record in a row's picture; None if there is no such picture."""
    try:
        with Image.open(picture_path(out, row_id), formats=("PNG",)) as picture:
            return Record(**json.loads(picture.info[RECORD]))
    except (OSError, KeyError, TypeError, ValueError):
        return None
