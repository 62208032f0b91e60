"""What the model will see: the first samples of a configuration as one picture."""

from __future__ import annotations

from itertools import islice

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from ..config import ConfigError, EncodedData, TrainConfig
from ..stages.stage import grid
from .dataset import Sample
from .shards import ShardStream
from .sources import open_training_data

SIDE = 224
"""Pixels of a cell: the exemplar as large as CLIP sees it."""
CAPTION_HEIGHT = 24
OUTLINE = (1.0, 0.1, 0.4)
"""Colour of the hole's edge."""


def contact_sheet(config: TrainConfig, rows: int) -> tuple[Image.Image, list[str]]:
    """Draw the first samples of epoch 0, one in a row.

    Args:
        config: whose `data` is drawn, with its augmentation.
        rows: most samples; a smaller epoch gives fewer.

    Returns:
        The sheet, with columns of picture, outlined hole, masked picture, keep mask, exemplar and
        (where the source knows its outline) the object alone, `SIDE` pixels each under a line of
        captions; and the reasons for what was left out.

    Raises:
        ConfigError: the data cannot be used, or holds no pictures any more.
    """
    if isinstance(config.data, EncodedData):
        raise ConfigError(
            "data.kind is encoded, which holds no pictures any more; name the configuration that "
            "its samples were encoded from."
        )
    data = open_training_data(config)
    if isinstance(data, ShardStream):
        samples = list(islice(data, rows))
    else:
        samples = [data[0, index] for index in range(min(rows, len(data)))]
    drawn = [_row(sample) for sample in samples]
    pixels = grid([list(row.values()) for row in drawn]).mul(255).round().byte()
    cells = Image.fromarray(pixels.permute(1, 2, 0).numpy())  # CHW -> HWC
    sheet = Image.new("RGB", (cells.width, CAPTION_HEIGHT + cells.height), "white")
    sheet.paste(cells, (0, CAPTION_HEIGHT))
    draw = ImageDraw.Draw(sheet)
    for column, caption in enumerate(drawn[0]):
        middle = (SIDE * (column + 0.5), CAPTION_HEIGHT / 2)
        draw.text(middle, caption, fill="black", anchor="mm", font_size=14)
    return sheet, [reason for sample in samples for reason in sample["skipped"]]


def _row(sample: Sample) -> dict[str, Tensor]:
    """Cells [3, SIDE, SIDE] in [0, 1] by caption."""
    image, keep_mask = sample["image"], sample["keep_mask"]
    picture, keep = _cell(image / 2 + 0.5), _cell(keep_mask.expand(3, -1, -1))
    row = {
        "picture": picture,
        "hole": _outlined(picture, keep),
        "masked picture": _cell(image * keep_mask / 2 + 0.5),
        "keep mask": keep,
        "exemplar": _cell(sample["exemplar"]),
    }
    if "object" in sample:
        row["object alone"] = _cell(sample["object"])
    return row


def _cell(image: Tensor) -> Tensor:
    """[3, H, W] → [3, SIDE, SIDE]; small pictures show their pixels."""
    if image.shape[-1] < SIDE:
        return F.interpolate(image[None], size=SIDE, mode="nearest")[0]
    return F.interpolate(image[None], size=SIDE, mode="bilinear", antialias=True)[0]


def _outlined(picture: Tensor, keep: Tensor) -> Tensor:
    """The picture with the edge of the hole drawn, along its border too."""
    hole = F.pad((keep < 0.5).float(), (1, 1, 1, 1))[None]
    edge = F.max_pool2d(hole, 3, stride=1) + F.max_pool2d(-hole, 3, stride=1)
    return torch.where(edge[0] > 0, torch.tensor(OUTLINE)[:, None, None], picture)
