"""What happens to a row: its region is planned, its pictures are prepared, painted and finished."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from ...exemplar import exemplar_view
from ...image import to_bytes
from ...mask import grow_mask
from ...region import Regions, find_regions
from ...weights.checkpoint import read_checkpoint
from ..components import Components
from ..measures import change_outside, seam
from ..pipeline import paint_regions, start_noise
from .errors import RowError
from .pictures import (
    Record,
    decode_image,
    decode_mask,
    read_bytes,
    read_exemplar,
    size_of,
    told,
    write_picture,
)
from .rows import Row

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ENCODED = 16384
"""Exemplars that are remembered; about 120 MB at the published size."""


@dataclass(frozen=True)
class Planned:
    """A row whose region is known, but whose picture is not decoded yet.

    Attributes:
        row: the row.
        image: its picture's file.
        mask: [H, W], 1 = repaint.
        size: (height, width) at which its region is painted.
        read: bytes that were read.
    """

    row: Row
    image: bytes
    mask: Tensor
    size: tuple[int, int]
    read: int

    @property
    def alike(self) -> tuple[Any, ...]:
        """Rows for which this is equal can be painted together."""
        settings = self.row.settings
        return self.size, settings.steps, settings.cfg, settings.sampler


@dataclass(frozen=True)
class Exemplar:
    """An encoded exemplar: class token [D] and context [1, D']."""

    token: Tensor
    context: Tensor


@dataclass(frozen=True)
class Prepared:
    """A row that is ready to be painted.

    Attributes:
        row: the row.
        regions: its one region.
        crop: [h, w, 3] in [0, 1].
        crop_mask: [h, w], 1 = repaint.
        exemplar: what to paint.
    """

    row: Row
    regions: Regions
    crop: Tensor
    crop_mask: Tensor
    exemplar: Exemplar


class Painter:
    """A model on a device; `prepare` and `finish` may run in threads beside `paint`."""

    def __init__(self, model: Path, dtype: str, folder: str) -> None:
        """Load a model.

        Args:
            model: file or folder.
            dtype: of the weights, one of `DTYPES`.
            folder: of the table, where relative paths start.

        Raises:
            CheckpointError: no model to paint with.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"
        checkpoint = read_checkpoint(model)
        self.components = Components.from_checkpoint(checkpoint, device, DTYPES[dtype])
        self.folder = folder
        self.encoded: OrderedDict[tuple[str, str | None], Exemplar] = OrderedDict()
        self.encoding = Lock()

    def plan(self, row: Row) -> Planned:
        """Read a row's picture and mask, and see at which size its region is painted.

        Raises:
            RowError: a file is absent or unreadable, or the mask is empty.
        """
        image = read_bytes(row.image, self.folder, "image")
        mask_file = read_bytes(row.mask, self.folder, "mask")
        with told("image", row.image):
            size = size_of(image)
        with told("mask", row.mask):
            mask = decode_mask(mask_file)
        unread = torch.zeros(()).expand(1, *size, 3)  # takes no memory
        planned = self._region(row, unread, mask).size
        return Planned(row, image, mask, planned, len(image) + len(mask_file))

    @torch.inference_mode()
    def prepare(self, planned: Planned) -> Prepared:
        """Decode a row's picture, cut its region out, and encode its exemplar if it is a new one.

        Raises:
            RowError: a file is absent or unreadable, or a mask is empty.
        """
        row = planned.row
        with told("image", row.image):
            image = torch.tensor(decode_image(planned.image)).float() / 255
        regions = self._region(row, image[None], planned.mask)
        crops, masks = regions.crop()
        return Prepared(row, regions, crops[0], masks[0], self.exemplar(row))

    def _region(self, row: Row, images: Tensor, mask: Tensor) -> Regions:
        settings = row.settings
        try:
            return find_regions(
                images,
                mask,
                resolution=settings.resolution,
                multiple=self.components.config.factor,
                context=settings.context,
                feather_pixels=settings.feather,
            )
        except ValueError as error:
            raise RowError(f"{row.mask}: {error}") from error

    def exemplar(self, row: Row) -> Exemplar:
        """A row's exemplar; each is encoded once, and alone, so that its bits never differ."""
        key = row.exemplar, row.exemplar_mask
        with self.encoding:
            if key in self.encoded:
                self.encoded.move_to_end(key)
            else:
                self.encoded[key] = self._encode(row)
                if len(self.encoded) > ENCODED:
                    self.encoded.popitem(last=False)
            return self.encoded[key]

    def _encode(self, row: Row) -> Exemplar:
        image, mask = read_exemplar(row, self.folder)
        try:
            token = self.class_token(image, mask)
        except ValueError as error:
            raise RowError(f"{row.exemplar_mask}: {error}") from error
        return Exemplar(token[0], self.components.encoder.project(token[:, None])[0])

    def class_token(self, image: Tensor, mask: Tensor | None) -> Tensor:
        """[1, D], of a picture [H, W, C] in [0, 1], or of its object [H, W] and 10 px around it."""
        encoder = self.components.encoder
        view = exemplar_view(image, encoder.config.image_size, mask=mask)
        device = encoder.uncond_vector.device
        return encoder.class_token(view.permute(2, 0, 1)[None].to(device))  # HWC -> BCHW

    @torch.inference_mode()
    def paint(self, batch: Sequence[Prepared]) -> Tensor:
        """Paint rows that are alike: [N, h, w, 3] in [0, 1], on the CPU.

        The noise of a row is that of its seed, whatever it is painted with.
        """
        settings, size = batch[0].row.settings, batch[0].regions.size
        noise = [start_noise(self.components, each.row.settings.seed, 1, size) for each in batch]
        _, painted = paint_regions(
            self.components,
            torch.stack([each.crop for each in batch]),
            torch.stack([each.crop_mask for each in batch]),
            torch.stack([each.exemplar.context for each in batch]),
            torch.cat(noise),
            steps=settings.steps,
            cfg=settings.cfg,
            algorithm=settings.sampler,
        )
        return painted.cpu()

    @torch.inference_mode()
    def finish(self, prepared: Prepared, patch: Tensor, digest: str, out: Path) -> Record:
        """Paste a painted region [h, w, 3] into its picture, measure the result and write it.

        Args:
            prepared: what was painted.
            patch: the result.
            digest: of the row, for the record.
            out: folder of the run.
        """
        row, regions, settings = prepared.row, prepared.regions, prepared.row.settings
        pictures, _ = regions.paste(patch[None], settings.feather, settings.match_color)
        pixels = to_bytes(pictures[0])
        source, result = regions.images[0], torch.tensor(pixels).float() / 255  # as it is written
        mask, bounds = regions.masks[0], regions.bounds[0]
        record = Record(
            row.id,
            digest,
            change_outside(result, source, grow_mask(mask, settings.feather)),
            round(seam(bounds.cut(result), bounds.cut(source), bounds.cut(mask)), 2),
            round(self._likeness(result, mask, prepared.exemplar), 4),
        )
        write_picture(out, pixels, record)
        return record

    def _likeness(self, result: Tensor, mask: Tensor, exemplar: Exemplar) -> float:
        tokens = self.class_token(result, mask)[0].float(), exemplar.token.float()
        return float(torch.cosine_similarity(*tokens, dim=0))
