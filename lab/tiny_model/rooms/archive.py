"""What was rendered as one file, so that it can be trained on, and rendered on, elsewhere.

    python -m lab.tiny_model.rooms.archive FOLDER TARGET

Hours of rendering fit into some megabytes: as AVIF a picture takes 2.2 kB, at 44 dB to the rendered
one (the mean of 60 pictures).
"""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image
from rich.progress import track

from .annotations import logged_pictures
from .log import log_files

QUALITY: dict[str, Any] = {"format": "AVIF", "quality": 85, "speed": 6, "subsampling": "4:4:4"}


def main() -> None:
    """Pack a folder that `render` filled."""
    parser = argparse.ArgumentParser(prog="archive", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    pack(arguments.folder, arguments.target)


def pack(folder: Path, target: Path) -> int:
    """Write pictures, outlines and logs of a folder into an uncompressed tar file.

    Returns:
        The number of pictures.
    """
    pictures = logged_pictures(folder)
    with tarfile.open(target, "w") as archive:
        for picture in track(pictures, "Packing"):
            name = Path(picture["file"]).stem
            packed, outlines = folder / f"{name}.avif", f"{name}-outlines.png"
            # of an archive before: coded again, it would lose again
            content = packed.read_bytes() if packed.is_file() else _coded(folder / picture["file"])
            _add(archive, packed.name, content)
            _add(archive, outlines, (folder / outlines).read_bytes())
        for log in log_files(folder):
            _add(archive, log.name, log.read_bytes())
    return len(pictures)


def unpack(archive: Path, folder: Path) -> None:
    """Fill a new folder with the content of an archive; rendering goes on from there."""
    folder.mkdir(parents=True)
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")


def _coded(file: Path) -> bytes:
    coded = io.BytesIO()
    Image.open(file).convert("RGB").save(coded, **QUALITY)
    return coded.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # without owner and date, so that equal pictures make equal files
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
