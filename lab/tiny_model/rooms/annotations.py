"""What was drawn, in COCO's format: boxes and outlines of every object in the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from .log import read_groups

LEAST_SHARE = 0.005
"""Objects that show less of themselves than this share of the picture are left out."""


def write_annotations(folder: Path, target: Path) -> int:
    """Gather the pictures of a folder that `render` filled.

    The main object of a picture always counts. Those beside it count unless the picture's border
    cuts them off, as half an object makes a poor exemplar.

    Args:
        folder: with the pictures (as rendered, or as `archive` packs them), their outlines and
            `worker-*.jsonl`.
        target: JSON file to write; its `file_name`s are relative to `folder`.

    Returns:
        The number of pictures.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    for picture in logged_pictures(folder):
        name = Path(picture["file"]).stem
        packed = f"{name}.avif"
        file = packed if (folder / packed).is_file() else picture["file"]
        numbers = np.asarray(Image.open(folder / f"{name}-outlines.png"))
        height, width = numbers.shape
        image = {"id": len(images) + 1, "file_name": file}
        images.append({**image, "width": width, "height": height})
        for number, name in enumerate(picture["objects"], start=1):
            visible = numbers == number
            rows, columns = visible.any(1).nonzero()[0], visible.any(0).nonzero()[0]
            if visible.mean() < LEAST_SHARE:
                continue
            top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            if number > 1 and (top == 0 or left == 0 or bottom == height or right == width):
                continue
            outline: Any = coco_mask.encode(np.asfortranarray(visible, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": categories.setdefault(name, len(categories) + 1),
                    "bbox": [int(left), int(top), int(right - left), int(bottom - top)],
                    "area": int(visible.sum()),
                    "iscrowd": 0,
                    "segmentation": {**outline, "counts": outline["counts"].decode("ascii")},
                }
            )
    named = [{"id": number, "name": name} for name, number in categories.items()]
    content = {"images": images, "annotations": annotations, "categories": named}
    target.write_text(json.dumps(content))
    return len(images)


def logged_pictures(folder: Path) -> list[dict[str, Any]]:
    """`file` and `objects` of all pictures in the workers' logs.

    They are ordered by file name, so that the order of work leaves no trace.
    """
    found = [picture for group in read_groups(folder) for picture in group["pictures"]]
    return sorted(found, key=lambda picture: picture["file"])
