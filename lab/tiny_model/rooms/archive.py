"""The rendered pictures as one file, so that the model can be trained anew without Blender.

    python -m lab.tiny_model.rooms.archive FOLDER TARGET

Hours of rendering fit into some megabytes: as AVIF a picture takes 2.2 kB, at 44 dB to the rendered
one, where the autoencoder that learns from it reaches less than 30 dB.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from rich.progress import track

from .annotations import write_annotations

ANNOTATIONS = "annotations.json"
QUALITY: dict[str, Any] = {"format": "AVIF", "quality": 85, "speed": 2, "subsampling": "4:4:4"}


def main() -> None:
    """Pack a folder that `render` filled."""
    parser = argparse.ArgumentParser(prog="archive", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    pack(arguments.folder, arguments.target)


def pack(folder: Path, target: Path) -> int:
    """Write pictures and annotations into an uncompressed tar file.

    Returns:
        The number of pictures.
    """
    with tempfile.TemporaryDirectory() as scratch:
        annotations = Path(scratch, ANNOTATIONS)
        write_annotations(folder, annotations)
        content = json.loads(annotations.read_text())
    with tarfile.open(target, "w") as archive:
        for image in track(content["images"], "Packing"):
            encoded = io.BytesIO()
            Image.open(folder / image["file_name"]).convert("RGB").save(encoded, **QUALITY)
            image["file_name"] = f"{Path(image['file_name']).stem}.avif"
            _add(archive, image["file_name"], encoded.getvalue())
        _add(archive, ANNOTATIONS, json.dumps(content, separators=(",", ":")).encode())
    return len(content["images"])


def unpack(archive: Path, folder: Path, annotations: Path) -> None:
    """Fill a folder with the pictures of an archive, and write their annotations beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (folder / ANNOTATIONS).rename(annotations)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # without owner and date, so that equal pictures make equal files
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
