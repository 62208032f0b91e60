"""A small set in COCOEE's layout, with results, and small backbones with random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

SET_SIZE = 64
PAINTED = "results"
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
FOLDERS = {
    "image": ("GT_3500", "_GT"),
    "exemplar": ("Ref_3500", "_ref"),
    "mask": ("Mask_bbox_3500", "_mask"),
    PAINTED: (PAINTED, ""),
    "real": ("real", ""),
}


@dataclass(frozen=True)
class FakeSet:
    """Pictures of colored boxes; the results have another box in the hole."""

    folder: Path
    names: list[str]

    def path(self, kind: str, name: str) -> Path:
        folder, suffix = FOLDERS[kind]
        return self.folder / folder / f"{name}{suffix}.png"

    def paths(self, kind: str) -> list[Path]:
        return [self.path(kind, name) for name in self.names]

    def open(self, kind: str, name: str) -> Image.Image:
        return Image.open(self.path(kind, name))

    def pictures(self, kind: str) -> Iterator[Image.Image]:
        return (self.open(kind, name) for name in self.names)


def fake_set(folder: Path, count: int = SET_SIZE, size: tuple[int, int] = (96, 72)) -> FakeSet:
    """Draw and write it; masks are boxes, pictures of real things differ from the results."""
    rng = np.random.default_rng(0)
    ids = rng.choice(10**6, count, replace=False)
    fakes = FakeSet(folder, [f"{number:012}" for number in ids])
    for kind in FOLDERS:
        fakes.path(kind, "").parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / "id_list.npy", ids.astype(np.int64))
    for name in fakes.names:
        image = _drawn(rng, size)
        left, top = rng.integers(4, 20), rng.integers(4, 25)
        box = (
            int(left),
            int(top),
            int(left + rng.integers(16, 40)),
            int(top + rng.integers(16, 36)),
        )
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).rectangle(box, 255)
        result = image.copy()
        result.paste(_drawn(rng, (box[2] - box[0], box[3] - box[1])), box[:2])
        exemplar = _drawn(rng, (50, 61))
        drawn = {"image": image, "mask": mask, PAINTED: result, "exemplar": exemplar}
        for kind, picture in {**drawn, "real": _drawn(rng, (110, 130))}.items():
            picture.save(fakes.path(kind, name))
    return fakes


def _drawn(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Smooth colors with a box on them."""
    colors = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(colors).resize(size, Image.Resampling.BICUBIC)
    corners = sorted(int(side) for side in rng.integers(0, min(size), 2))
    fill = tuple(int(channel) for channel in rng.integers(0, 256, 3))
    ImageDraw.Draw(picture).rectangle((corners[0], corners[0], corners[1], corners[1]), fill)
    return picture


def small_clip(folder: Path, seed: int = 0) -> Path:
    """Random weights in transformers' layout, with CLIP's activation."""
    config = CLIPVisionConfig(
        **SMALL,
        projection_dim=32,
        patch_size=32,
        initializer_factor=2.0,  # so that pictures differ more
    )
    return _saved(CLIPVisionModelWithProjection, config, folder, seed)


def small_dino(folder: Path, seed: int = 0) -> Path:
    """Random weights in transformers' layout, without the pooling layer, as DINO's are."""
    ViTImageProcessor().save_pretrained(folder)
    config = ViTConfig(**SMALL, patch_size=32, initializer_range=0.3)
    return _saved(partial(ViTModel, add_pooling_layer=False), config, folder, seed)


def _saved(model: Callable[[Any], Any], config: Any, folder: Path, seed: int) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model(config).save_pretrained(folder)
    return folder
