"""COCO-style data: one JSON with boxes and outlines, and a folder of pictures."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..config import CocoData, ConfigError
from .holes import Array, usable
from .photos import Photo, Ragged, boxes_in_pixels, read_pixels
from .pictures import Picture, Pixels, UnreadablePictureError


class Coco:
    """Pictures that have a usable box.

    A box is clipped to the picture (COCO's stick out by a hundredth of a pixel), then kept by
    `holes.usable`; crowds (`iscrowd`) are left out, and so are pictures without a box left.
    """

    def __init__(self, config: CocoData) -> None:
        self.folder = config.images
        try:
            about = json.loads(config.annotations.read_text(encoding="utf-8"))
            found = _by_picture(about["annotations"])
            pictures = [(p, *_relative(p, found.get(p["id"], []))) for p in about["images"]]
            pictures = [picture for picture in pictures if len(picture[1])]
            self.names = np.array([str(picture["id"]) for picture, _, _ in pictures])
            self.files = np.array([picture["file_name"] for picture, _, _ in pictures])
        except OSError as error:
            raise ConfigError(
                f"data.annotations: {config.annotations} cannot be read ({error.strerror})."
            ) from error
        except KeyError as error:
            raise ConfigError(
                f"data.annotations: {config.annotations} lacks the key {error} in an entry; give "
                "instances as COCO writes them."
            ) from error
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"data.annotations: {config.annotations} is no COCO-style JSON ({error})."
            ) from error
        if not pictures:
            raise ConfigError(
                f"data.annotations: {config.annotations} holds no usable box; a box must cover "
                "2 % to 80 % of its picture."
            )
        self.sizes = np.array([(p["width"], p["height"]) for p, _, _ in pictures], np.int32)
        self.boxes = Ragged.join([boxes for _, boxes, _ in pictures], (4,))
        outlines = [outline for _, _, outlines in pictures for outline in outlines]
        # of each box its polygons, of each polygon its points in pixels
        self.polygons = np.cumsum([0, *map(len, outlines)])
        self.points = Ragged.join([polygon for outline in outlines for polygon in outline], (2,))

    def __len__(self) -> int:
        return len(self.files)

    def photo(self, index: int) -> Photo:
        """File and boxes of a picture."""
        name, file = str(self.names[index]), str(self.files[index])
        return Photo(name, self.folder / file, self.boxes[index])

    def read(self, index: int, rng: np.random.Generator) -> Picture:
        """The picture with its boxes, and with its objects if all of them have polygons.

        Raises:
            UnreadablePictureError: it cannot be decoded, has another size than the JSON says, or
                its boxes cover no pixel.
        """
        photo = self.photo(index)
        image = read_pixels(photo.file, photo.file.name)
        W, H = (int(side) for side in self.sizes[index])
        if image.shape[:2] != (H, W):
            raise UnreadablePictureError(
                f"{photo.file.name}: {image.shape[1]}×{image.shape[0]}, annotated as {W}×{H}"
            )
        boxes = boxes_in_pixels(photo.boxes, image, photo.file.name)
        first, stop = self.boxes.offsets[index : index + 2]
        outlines = [
            [self.points[number] for number in range(self.polygons[box], self.polygons[box + 1])]
            for box in range(first, stop)
        ]
        known = len(boxes) == len(outlines) and all(outlines)
        return Picture(image, boxes, [_filled(o, (W, H)) for o in outlines] if known else None)

    def fingerprint(self) -> str:
        """Hash of file names and boxes."""
        digest = hashlib.sha256(" ".join(self.files).encode())
        digest.update(self.boxes.offsets.tobytes())
        digest.update(self.boxes.values.tobytes())
        return digest.hexdigest()[:16]


def _by_picture(annotations: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for annotation in annotations:
        if not annotation.get("iscrowd"):
            found.setdefault(annotation["image_id"], []).append(annotation)
    return found


def _relative(
    picture: dict[str, Any], annotations: list[dict[str, Any]]
) -> tuple[Array, list[list[Array]]]:
    """Usable relative boxes [N, 4] of a picture, and the polygons of each."""
    W, H = picture["width"], picture["height"]
    corners = [_corners(*annotation["bbox"]) for annotation in annotations]
    boxes = (np.array(corners).reshape(-1, 4) / np.array([W, H, W, H])).clip(0, 1)
    kept = usable(boxes)
    chosen = [a for a, keep in zip(annotations, kept, strict=True) if keep]
    return boxes[kept], [_polygons(annotation.get("segmentation")) for annotation in chosen]


def _corners(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x, y, x + width, y + height


def _polygons(segmentation: Any) -> list[Array]:
    """Polygons [points, 2]; none if the outline is run-length encoded or absent."""
    if not isinstance(segmentation, list):
        return []
    polygons = [np.array(flat, np.float32) for flat in segmentation]  # pyright: ignore
    return [flat.reshape(-1, 2) for flat in polygons if flat.size >= 6 and flat.size % 2 == 0]


def _filled(polygons: list[Array], size: tuple[int, int]) -> Pixels:
    """Object [H, W], 255 inside any of the polygons."""
    drawing = Image.new("L", size)
    for polygon in polygons:
        ImageDraw.Draw(drawing).polygon([(float(x), float(y)) for x, y in polygon], fill=255)
    return np.asarray(drawing)
