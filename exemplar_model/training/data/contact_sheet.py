"""The first training samples of a configuration in one picture, to check data and settings."""

from __future__ import annotations

from itertools import islice

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from ..config import TrainConfig
from ..data_config import EncodedData
from ..section import ConfigError
from .open import open_training_data
from .sample import Pictures
from .shards import ShardStream

SIDE = 224
"""Width and height of a cell, in pixels: the exemplar as large as CLIP sees it."""
CAPTION_HEIGHT = 24
EDGE_COLOR = (1.0, 0.1, 0.4)
"""Of the line around the hole, RGB in [0, 1]."""


def contact_sheet(config: TrainConfig, rows: int) -> tuple[Image.Image, list[str]]:
    """Draw the first samples of epoch 0, one per row.

    Args:
        config: whose `data` is drawn, with its `augmentation`.
        rows: number of samples; fewer where the epoch has fewer.

    Returns:
        The sheet: under a line of captions, columns of picture, hole, masked picture, keep mask,
        exemplar and, where all outlines are known, the object alone, each `SIDE` pixels wide; and
        for each picture that could not be read, the reason.

    Raises:
        ConfigError: the data cannot be used, or is encoded and so holds no pictures.
    """
    if isinstance(config.data, EncodedData):
        raise ConfigError(
            "data.kind is encoded, which holds no pictures any more; name the configuration that "
            "its samples were encoded with."
        )
    data = open_training_data(config)
    if isinstance(data, ShardStream):
        samples = list(islice(data, rows))
    else:
        samples = [data[0, index] for index in range(min(rows, len(data)))]
    drawn = [_row(sample.pictures) for sample in samples]
    captions = [name for name in drawn[0] if all(name in row for row in drawn)]
    cells = [row[name] for row in drawn for name in captions]
    pixels = make_grid(cells, len(captions), padding=0).clamp(0, 1).mul(255).round().byte()
    table = Image.fromarray(pixels.permute(1, 2, 0).numpy())  # CHW -> HWC
    sheet = Image.new("RGB", (table.width, CAPTION_HEIGHT + table.height), "white")
    sheet.paste(table, (0, CAPTION_HEIGHT))
    draw = ImageDraw.Draw(sheet)
    for column, caption in enumerate(captions):
        middle = (SIDE * (column + 0.5), CAPTION_HEIGHT / 2)
        draw.text(middle, caption, fill="black", anchor="mm", font_size=14)
    return sheet, [reason for sample in samples for reason in sample.skipped]


def _row(pictures: Pictures) -> dict[str, Tensor]:
    """Cells [3, SIDE, SIDE] in [0, 1] by caption."""
    image, keep_mask, exemplar, alone = pictures
    picture, keep = _cell(image / 2 + 0.5), _cell(keep_mask.expand(3, -1, -1))
    row = {
        "picture": picture,
        "hole": _with_edge(picture, keep),
        "masked picture": _cell(image * keep_mask / 2 + 0.5),
        "keep mask": keep,
        "exemplar": _cell(exemplar),
    }
    if alone is not None:
        row["object alone"] = _cell(alone)
    return row


def _cell(image: Tensor) -> Tensor:
    """[3, H, W] → [3, SIDE, SIDE]; small pictures are enlarged without smoothing."""
    if image.shape[-1] < SIDE:
        return F.interpolate(image[None], size=SIDE, mode="nearest")[0]
    return F.interpolate(image[None], size=SIDE, mode="bilinear", antialias=True)[0]


def _with_edge(picture: Tensor, keep: Tensor) -> Tensor:
    """The picture with the edge of the hole drawn, also where the picture ends there."""
    hole = F.pad((keep < 0.5).float(), (1, 1, 1, 1))[None]
    edge = F.max_pool2d(hole, 3, stride=1) + F.max_pool2d(-hole, 3, stride=1)
    return torch.where(edge[0] > 0, torch.tensor(EDGE_COLOR)[:, None, None], picture)
