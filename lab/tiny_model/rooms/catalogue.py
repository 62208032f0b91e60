"""The 3D models of Debian's `sweethome3d-furniture`: which are used, which are held out, by whom.

The package holds five archives (`.sh3f`, zip files) of OBJ models, each with a catalogue of names,
sizes, categories and creators.

| archive          | licence          | taken                                   |
|------------------|------------------|-----------------------------------------|
| Scopia           | CC-BY 3.0        | yes                                     |
| BlendSwap-CC-0   | CC0              | yes                                     |
| BlendSwap-CC-BY  | CC-BY 3.0        | yes                                     |
| KatorLegaz       | CC-BY 3.0 US     | yes                                     |
| Reallusion       | CC-BY 3.0 US     | no: people, of whom there are too few   |
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

ARCHIVES = {
    "Scopia": "CC-BY 3.0",
    "BlendSwap-CC-0": "CC0 1.0",
    "BlendSwap-CC-BY": "CC-BY 3.0",
    "KatorLegaz": "CC-BY 3.0 US",
}
"""Archives that are used, and the licence of their models."""
CATALOGUE = "PluginFurnitureCatalog.properties"
LARGEST_FILE = 3_000_000
"""Bytes of an OBJ file; the few larger ones take longer to read than to draw."""
THINNEST, NARROWEST = 0.06, 0.12
"""Least ratio of a model's shortest, and of its middle side to the longest: no panels, no rods."""


@dataclass(frozen=True)
class Model:
    """A 3D model of the package.

    Attributes:
        file: its OBJ file, unpacked.
        archive: key of `ARCHIVES`.
        title: what it shows, in English.
        creator: whom the licence asks to credit.
        sides: width, depth and height in centimetres.
        in_wall: a door or a window.
    """

    file: Path
    archive: str
    title: str
    creator: str
    sides: tuple[float, float, float]
    in_wall: bool

    @property
    def name(self) -> str:
        """Archive and file stem, which no two models share."""
        return f"{self.archive.lower()}-{self.file.stem.lower()}"

    @property
    def held_out(self) -> bool:
        """Whether it is for testing only; models of one file name are so together."""
        digest = hashlib.sha1(self.file.stem.lower().encode()).hexdigest()
        return int(digest, 16) % 10 == 0


def unpack(package: Path, target: Path) -> None:
    """Unpack the archives below the package's folder, each into a folder of its name."""
    for archive in ARCHIVES:
        with zipfile.ZipFile(next(package.rglob(f"{archive}.sh3f"))) as file:
            file.extractall(target / archive)


def read_catalogue(folder: Path) -> list[Model]:
    """All models of the unpacked archives, by name."""
    found: list[Model] = []
    for archive in ARCHIVES:
        entries = _read_properties(folder / archive / CATALOGUE)
        for number in sorted({key.partition("#")[2] for key in entries if "#" in key}):
            entry = {key: entries.get(f"{key}#{number}", "") for key in _FIELDS}
            found.append(
                Model(
                    file=folder / archive / entry["model"].lstrip("/"),
                    archive=archive,
                    title=entry["name"],
                    creator=entry["creator"],
                    sides=(float(entry["width"]), float(entry["depth"]), float(entry["height"])),
                    in_wall=entry["doorOrWindow"] == "true",
                )
            )
    return sorted({model.name: model for model in found}.values(), key=lambda model: model.name)


_FIELDS = ("model", "name", "creator", "width", "depth", "height", "doorOrWindow")


def _read_properties(file: Path) -> dict[str, str]:
    """Keys and values of a Java properties file, which is Latin-1 with escapes."""
    lines = file.read_text("latin-1").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {
        key.strip(): re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), value.strip())
        for key, _, value in pairs
    }


def fault(model: Model) -> str | None:
    """Why a model is left out, or None."""
    shortest, middle, longest = sorted(model.sides)
    if model.in_wall:
        return "a door or a window, which belongs into a wall"
    if shortest < THINNEST * longest or middle < NARROWEST * longest:
        return "a panel or a rod"
    if not model.file.is_file():
        return "its file is missing"
    if model.file.stat().st_size > LARGEST_FILE:
        return "too large to read"
    if missing := missing_textures(model.file):
        return f"lacks its texture {missing[0]}"
    return None


def missing_textures(file: Path) -> list[str]:
    """Color textures that an OBJ file's materials ask for and that are not there.

    Blender draws them in magenta; other textures (bumps, reflections) leave no trace when missing.
    """
    text = file.read_text("latin-1")
    missing: list[str] = []
    for library in re.findall(r"^mtllib\s+(.+?)\s*$", text, re.M):
        materials = file.parent / library
        if not materials.is_file():
            missing.append(library)
            continue
        for line in re.findall(r"^\s*map_Kd\s+(.+?)\s*$", materials.read_text("latin-1"), re.M):
            texture = line.replace("\\", "/")
            options = re.match(r"(?:-\w+(?:\s+(?:[-\d.]+|on|off)(?=\s))*\s+)*(.*)", texture)
            name = options[1] if options else texture
            if not (file.parent / name).is_file():
                missing.append(name)
    return missing


def credits(models: list[Model]) -> str:
    """A page that names every creator, as the licences ask."""
    return CREDITS + creators_by_archive(models)


CREDITS = """\
# Credits

The bundled model learned from pictures of these 3D models, which come with Debian's
package `sweethome3d-furniture` (collected and converted for Sweet Home 3D by Emmanuel
Puybaret). None of them is part of this project.

"""


def creators_by_archive(models: list[Model]) -> str:
    """Creators with their models' titles, in Markdown, below their archive and its licence."""
    sections: list[str] = []
    for archive, licence in ARCHIVES.items():
        by_creator: dict[str, set[str]] = {}
        for model in models:
            if model.archive == archive:
                by_creator.setdefault(model.creator or "unnamed", set()).add(model.title)
        lines = [
            f"- {creator}: {', '.join(sorted(by_creator[creator]))}"
            for creator in sorted(by_creator, key=str.lower)
        ]
        if lines:
            sections.append("\n".join([f"## {archive} ({licence})", "", *lines, ""]))
    return "\n".join(sections)
