"""OpenImages in its own format: a CSV of boxes, and folders of JPEGs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..data_config import OpenImagesData
from ..section import ConfigError
from .boxes import AREA_RANGE, Array, PackedArrays, usable
from .reading import read_picture
from .source import Picture, PictureFile

COLUMNS = ("ImageID", "XMin", "YMin", "XMax", "YMax")
BAD_IDS = (
    "1af17f3d912e9aac",
    "1d5ef05c8da80e31",
    "3095084b358d3f2d",
    "3ad7415a11ac1f5e",
    "42a30d8f8fba8b40",
    "1366cde3b480a15c",
    "03a53ed6ab408b9f",
)
"""Pictures that the reference leaves out (`ldm/data/open-images.py`)."""


class OpenImages:
    """Pictures that have a usable box and lie in the folder.

    A box is kept by `boxes.usable`; all classes count, also groups and depictions, as in the
    reference. Pictures without a box left, those of `BAD_IDS`, and those that are not on the disk
    are left out.
    """

    def __init__(self, config: OpenImagesData) -> None:
        ids, boxes = _indexed(config)
        self.folders: list[Path] = []
        folder_numbers = np.full(len(ids), -1, np.int32)
        padded = np.append(ids, b"/")  # what lies behind the last id equals no file name
        for folder, files in _jpegs(config.images):
            places = np.searchsorted(ids, files)
            places = places[padded[places] == files]
            new = places[folder_numbers[places] < 0]
            folder_numbers[new] = len(self.folders)
            self.folders.append(folder)
        present = folder_numbers >= 0
        if not present.any():
            raise ConfigError(
                f"data.images: {config.images} holds none of the pictures (<ImageID>.jpg) that "
                f"have a usable box in {config.boxes}; check both paths."
            )
        self.ids = ids[present]
        self.boxes = boxes.select(present)
        self.folder_numbers = folder_numbers[present]

    def __len__(self) -> int:
        return len(self.ids)

    def file(self, index: int) -> PictureFile:
        """Where a picture is stored, and its boxes."""
        name = self.ids[index].decode()
        folder = self.folders[self.folder_numbers[index]]
        return PictureFile(name, folder / f"{name}.jpg", self.boxes[index])

    def read(self, index: int, rng: np.random.Generator) -> Picture:
        """The picture with its boxes.

        Raises:
            UnreadablePictureError: it cannot be decoded, or its boxes cover no pixel.
        """
        file = self.file(index)
        return read_picture(file.path, file.path.name, file.boxes)

    def fingerprint(self) -> str:
        """Hash of ids and boxes."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(" ".join(self.ids.astype(str)).encode())
        digest.update(self.boxes.offsets.tobytes())
        digest.update(self.boxes.values.tobytes())
        return digest.hexdigest()[:16]


def parse_boxes(path: Path) -> tuple[Array, PackedArrays]:
    """Read the CSV in chunks: its 14 million rows need no more memory than the usable boxes do.

    Returns:
        Sorted ids [N] (bytes), and the usable boxes [n, 4] of each, in fractions of its size.

    Raises:
        ConfigError: the file or one of its columns is missing, or a row is broken.
    """
    ids: list[Array] = [np.zeros(0, "S1")]
    boxes: list[Array] = [np.zeros((0, 4), np.float32)]
    options = csv.ConvertOptions(
        include_columns=COLUMNS,
        column_types=dict(zip(COLUMNS, [pa.binary(), *[pa.float64()] * 4], strict=True)),
        null_values=[],  # an empty field is an error
    )
    try:
        with path.open("rb") as file, csv.open_csv(file, convert_options=options) as table:
            for chunk in table:
                own, *edges = chunk.columns
                values = np.stack([edge.to_numpy() for edge in edges], axis=1)
                kept = usable(values)
                ids.append(np.array(own.filter(pa.array(kept)).to_pylist(), "S"))
                boxes.append(values[kept].astype(np.float32))
    except OSError as error:
        raise ConfigError(f"data.boxes: {path} cannot be read ({error.strerror}).") from error
    except KeyError as error:
        raise ConfigError(
            f"data.boxes: {path} lacks one of the columns {', '.join(COLUMNS)}; give OpenImages' "
            "CSV of boxes."
        ) from error
    except ValueError as error:
        raise ConfigError(f"data.boxes: {path} has a broken row ({error}).") from error
    return _grouped(np.concatenate(ids), np.concatenate(boxes))


def _grouped(ids: Array, boxes: Array) -> tuple[Array, PackedArrays]:
    good = ~np.isin(ids, np.array(BAD_IDS, "S"))
    ids, boxes = ids[good], boxes[good]
    order = np.argsort(ids, kind="stable")
    names, starts = np.unique(ids[order], return_index=True)
    return names, PackedArrays(boxes[order], np.append(starts, len(ids)).astype(np.int64))


def _indexed(config: OpenImagesData) -> tuple[Array, PackedArrays]:
    """What `parse_boxes` gives, kept in `config.index` as long as the CSV stays the same."""
    if config.index is None:
        return parse_boxes(config.boxes)
    try:
        status = config.boxes.stat()
    except OSError as error:
        raise ConfigError(
            f"data.boxes: {config.boxes} cannot be read ({error.strerror})."
        ) from error
    stamp = f"{status.st_size} bytes of {status.st_mtime_ns}, areas {AREA_RANGE}"
    found = _load_index(config.index, stamp) if config.index.exists() else None
    if found is not None:
        return found
    ids, boxes = parse_boxes(config.boxes)
    letters = np.frombuffer(ids.tobytes(), np.uint8).reshape(len(ids), -1)
    tensors = {"ids": letters, "boxes": boxes.values, "offsets": boxes.offsets}
    config.index.parent.mkdir(parents=True, exist_ok=True)
    # every process of a run may be here at once, each with a file of its own
    with tempfile.TemporaryDirectory(dir=config.index.parent) as folder:
        unfinished = Path(folder) / "index"
        save_file(tensors, unfinished, {"csv": stamp})
        unfinished.replace(config.index)
    return ids, boxes


def _load_index(path: Path, stamp: str) -> tuple[Array, PackedArrays] | None:
    try:
        file: Any = safe_open(path, framework="np")
        with file:
            metadata = file.metadata() or {}
            if metadata.get("csv") == stamp:
                letters = file.get_tensor("ids")
                ids = np.frombuffer(letters.tobytes(), f"S{letters.shape[1]}")
                return ids, PackedArrays(file.get_tensor("boxes"), file.get_tensor("offsets"))
    except (OSError, SafetensorError):
        metadata = {}
    if "csv" not in metadata:
        raise ConfigError(
            f"data.index: {path} is no index of boxes; delete it or choose another path."
        )
    return None


def _jpegs(root: Path) -> Iterator[tuple[Path, Array]]:
    """Folders below `root`, in order, each with the names of its JPEGs (bytes, no suffix)."""
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders.sort()
        names = [name[:-4] for name in files if name.endswith(".jpg") and name.isascii()]
        if names:
            yield Path(folder), np.array(names, "S")
