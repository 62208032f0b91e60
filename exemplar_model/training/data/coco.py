"""Pictures with annotations in COCO's format: one JSON with boxes and outlines, and a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

from ..data_config import CocoData
from ..section import ConfigError
from .boxes import Array, PackedArrays, usable
from .reading import read_picture
from .source import Picture, PictureFile, Pixels, UnreadablePictureError


class Coco:
    """The pictures of a COCO-style JSON that have a usable box.

    A box is clipped to the picture (COCO's stick out by a hundredth of a pixel), then kept by
    `boxes.usable`; crowds (`iscrowd`) are left out, and so are pictures without a box left.
    """

    def __init__(self, config: CocoData) -> None:
        self.folder = config.images
        try:
            about = json.loads(config.annotations.read_text(encoding="utf-8"))
            images = _chosen(about["images"], config)
            found: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in images}
            for annotation in about["annotations"]:
                if not annotation.get("iscrowd") and annotation["image_id"] in found:
                    found[annotation["image_id"]].append(annotation)
            pictures = [(image, *_usable(image, found[image["id"]])) for image in images]
            pictures = [picture for picture in pictures if len(picture[1])]
            self.names = np.array([str(image["id"]) for image, _, _ in pictures])
            self.files = np.array([image["file_name"] for image, _, _ in pictures])
        except OSError as error:
            raise ConfigError(
                f"data.annotations: {config.annotations} cannot be read ({error.strerror})."
            ) from error
        except KeyError as error:
            raise ConfigError(
                f"data.annotations: {config.annotations} lacks the key {error} in an entry; give "
                "instances as COCO writes them."
            ) from error
        except (ValueError, TypeError, OverflowError) as error:
            raise ConfigError(
                f"data.annotations: {config.annotations} is no COCO-style JSON ({error})."
            ) from error
        if not pictures:
            raise ConfigError(
                f"data.annotations: {config.annotations} holds no usable box; a box must cover "
                "2 % to 80 % of its picture."
            )
        self.sizes = np.array([(p["width"], p["height"]) for p, _, _ in pictures], np.int32)
        self.boxes = PackedArrays.join(
            (boxes for _, boxes, _ in pictures), np.empty((0, 4), np.float32)
        )
        # in the order of the boxes; empty where an outline is not known
        self.outlines = PackedArrays.join(
            (np.frombuffer(code, np.uint8) for *_, codes in pictures for code in codes),
            np.empty(0, np.uint8),
        )

    def __len__(self) -> int:
        return len(self.files)

    def file(self, index: int) -> PictureFile:
        """Where a picture is stored, and its boxes."""
        path = self.folder / str(self.files[index])
        return PictureFile(str(self.names[index]), path, self.boxes[index])

    def read(self, index: int, rng: np.random.Generator) -> Picture:
        """The picture with its boxes, and with its objects if all outlines are known.

        Raises:
            UnreadablePictureError: it cannot be decoded, has another size than the JSON says, or
                its boxes cover no pixel.
        """
        file = self.file(index)
        picture = read_picture(file.path, file.path.name, file.boxes)
        H, W = picture.image.shape[:2]
        width, height = self.sizes[index].tolist()
        if (width, height) != (W, H):
            raise UnreadablePictureError(
                f"{file.path.name}: {W}×{H}, annotated as {width}×{height}"
            )
        first, stop = self.boxes.offsets[index : index + 2]
        codes = [self.outlines[number].tobytes() for number in range(first, stop)]
        if len(picture.boxes) != len(codes) or not all(codes):
            return picture
        return replace(picture, objects=[_decoded(code, (H, W)) for code in codes])

    def fingerprint(self) -> str:
        """Hash of file names, boxes and outlines."""
        digest = hashlib.sha256(" ".join(self.files).encode())
        for packed in (self.boxes, self.outlines):
            digest.update(packed.offsets.tobytes())
            digest.update(packed.values.tobytes())
        return digest.hexdigest()[:16]


def _chosen(images: list[dict[str, Any]], config: CocoData) -> list[dict[str, Any]]:
    """The entries of `images` that `only` and `without` leave."""
    names = {image["file_name"] for image in images}
    if config.only is not None:
        names &= _listed(config.only, "only", names)
    if config.without is not None:
        names -= _listed(config.without, "without", names)
    return [image for image in images if image["file_name"] in names]


def _listed(path: Path, key: str, names: set[str]) -> set[str]:
    """The lines of a file list.

    Raises:
        ConfigError: it cannot be read, or names no picture, which would hold out nothing.
    """
    try:
        listed = set(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"data.{key}: {path} cannot be read ({error}).") from error
    if not listed & names:
        raise ConfigError(
            f"data.{key}: {path} names no picture of data.annotations; write one `file_name` per "
            "line, as the JSON has it."
        )
    return listed


def _usable(image: dict[str, Any], annotations: list[dict[str, Any]]) -> tuple[Array, list[bytes]]:
    """Usable boxes [N, 4] of a picture, in fractions of its size, and the outline of each."""
    W, H = image["width"], image["height"]
    corners = [_corners(*annotation["bbox"]) for annotation in annotations]
    boxes = (np.array(corners).reshape(-1, 4) / np.array([W, H, W, H])).clip(0, 1)
    kept = usable(boxes)
    chosen = [a for a, keep in zip(annotations, kept, strict=True) if keep]
    return boxes[kept], [_outline(a.get("segmentation"), (H, W)) for a in chosen]


def _corners(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x, y, x + width, y + height


def _outline(segmentation: Any, size: tuple[int, int]) -> bytes:
    """COCO's compressed run-length code of an object; empty if it has no outline.

    Args:
        segmentation: polygons, or run lengths, compressed or not; or neither.
        size: (H, W) of the picture.

    Raises:
        ValueError: run lengths of another size, or whose sum is not the picture's area.
    """
    if isinstance(segmentation, dict):
        given: Any = segmentation
        if list(given["size"]) != list(size):
            raise ValueError(f"run lengths of size {given['size']} in a picture of {[*size]}")
        if isinstance(given["counts"], list):
            given = run_lengths.frPyObjects(given, *size)
        # where lengths are missing, pycocotools leaves the rest of what it decodes undefined
        decoded = run_lengths.decode(given)
        if decoded.sum() != run_lengths.area(given):
            raise ValueError("run lengths do not add up to the picture's area")
        code = run_lengths.encode(decoded)
    else:
        polygons = [polygon for polygon in segmentation or () if len(polygon) >= 6]
        if not polygons:
            return b""
        code = run_lengths.merge(run_lengths.frPyObjects(polygons, *size))
    counts: Any = code["counts"]
    return counts if run_lengths.area(code) else b""


def _decoded(counts: bytes, size: tuple[int, int]) -> Pixels:
    """Object [H, W], 255 inside."""
    return run_lengths.decode({"size": list(size), "counts": counts}) * np.uint8(255)
