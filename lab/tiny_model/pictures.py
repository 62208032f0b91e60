"""Cut-out objects and background photos of the shipped model, from freely licensed packages.

| package                        | what is taken                   | licence                     |
|--------------------------------|---------------------------------|-----------------------------|
| npm `@lobehub/fluent-emoji-3d` | 3D-rendered objects, 256²       | MIT (Microsoft Fluent)      |
| npm `emoji-datasource-google`  | Noto drawings, 64²              | Apache-2.0 (Google)         |
| Debian `openclipart-png`       | drawings                        | public domain               |
| PyPI `scikit-image`            | photos and textures             | CC0 and public domain       |
| PyPI `scikit-learn`            | `flower.jpg`, `china.jpg`       | CC BY 2.0                   |
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

HELD_OUT_SHARE = 20
"""One object in this many is never trained on."""
LONGEST_SIDE = 160
"""Objects are kept no larger than this, in pixels."""
TRAIN_PHOTOS = (
    "astronaut.png",
    "brick.png",
    "flower.jpg",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "rocket.jpg",
)
HELD_OUT_PHOTOS = ("china.jpg", "coffee.png", "chelsea.png")
SKIN_TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
GENDERS = {"2640", "2642"}


def is_held_out(stem: str) -> bool:
    """Whether an object is for testing only; the same emoji answers alike in every set."""
    name = stem.lower().replace("-fe0f", "")
    return int(hashlib.sha1(name.encode()).hexdigest(), 16) % HELD_OUT_SHARE == 0


def write_pictures(packages: Path, target: Path) -> None:
    """Fill `target` with `{train,held_out}/{objects,backgrounds}`.

    Args:
        packages: folder with `fluent`, `noto`, `clipart` and `photos`, as unpacked.
        target: a folder, made anew; `counts.json` in it is written last, when all is complete.
    """
    counts: Counter[str] = Counter()
    for name, files in (
        ("fluent", emoji(packages / "fluent", "*.webp")),
        ("noto", emoji(packages / "noto", "*.png")),
        ("clipart", sorted((packages / "clipart").rglob("*.png"))),
    ):
        seen: set[str] = set()
        for file in files:
            picture = cut_out(file)
            if picture is None:
                continue
            digest = hashlib.sha1(picture.tobytes()).hexdigest()
            if digest in seen:  # openclipart links one drawing into several folders
                continue
            seen.add(digest)
            part = "held_out" if is_held_out(file.stem) else "train"
            folder = target / part / "objects"
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{name}-{file.stem.lower()}-{digest[:6]}.png")
            counts[f"{part} {name}"] += 1
    for part, names in (("train", TRAIN_PHOTOS), ("held_out", HELD_OUT_PHOTOS)):
        folder = target / part / "backgrounds"
        folder.mkdir(parents=True, exist_ok=True)
        for photo in names:
            picture = Image.open(next((packages / "photos").rglob(photo))).convert("RGB")
            picture.save(folder / f"{Path(photo).stem}.png")
            counts[f"{part} photos"] += 1
    (target / "counts.json").write_text(json.dumps(counts, indent=2) + "\n")


def emoji(folder: Path, pattern: str) -> Iterator[Path]:
    """Emoji files by code point, without variants of the same drawing and without flags."""
    for file in sorted(folder.rglob(pattern)):
        codes = file.stem.lower().split("-")
        is_flag = codes[0].startswith("1f1") or "e007f" in codes
        if is_flag or SKIN_TONES & set(codes) or GENDERS & set(codes) or len(codes) > 4:
            continue
        yield file


def cut_out(file: Path) -> Image.Image | None:
    """The object of a picture with alpha, cropped and shrunk; None where it makes no good exemplar.

    Refused: side ratio above 3, less than a quarter of the box covered, no transparent corner
    (a rectangle), hardly any colour and hardly any shading (line art), less than 24 px.
    """
    try:
        picture = Image.open(file)
    except Image.DecompressionBombError:  # a few drawings of hundreds of megapixels
        return None
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return None
    picture = picture.convert("RGBA")
    picture.thumbnail((LONGEST_SIDE * 2, LONGEST_SIDE * 2), Image.Resampling.BOX)
    box = picture.getchannel("A").point([0] * 25 + [255] * 231).getbbox()
    if box is None:
        return None
    picture = picture.crop(box)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    if min(picture.size) < 24 or max(picture.size) > 3 * min(picture.size):
        return None
    pixels = np.asarray(picture).astype(np.float32)
    solid = pixels[..., 3] > 128
    if not 0.25 <= solid.mean() <= 0.97:
        return None
    colours = pixels[solid][:, :3]
    saturation = (colours.max(1) - colours.min(1)).mean()
    if (saturation < 12 and colours.std() > 70) or saturation < 3:
        return None
    return picture
