"""Exemplar Split Mask."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..exemplar_model.mask import split_masks
from .node import ExemplarNode, schema


class ExemplarSplitMask(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ExemplarSplitMask",
            display_name="Exemplar Split Mask",
            description="Splits a mask into its separate areas, from left to right: one region "
            "each, with an exemplar of its own.",
            search_aliases=["mask to regions", "connected components", "separate mask"],
            inputs=[
                io.Mask.Input(
                    "mask",
                    tooltip="1 = repaint. Areas that touch, even at a corner, count as one. "
                    "Several masks are split one by one.",
                ),
                io.Float.Input(
                    "min_size",
                    default=0.01,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Drops areas smaller than this share of the largest, such as "
                    "specks of the brush. 0 keeps all, 1 only the largest.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="masks", tooltip="One mask per area, from left to right."
                ),
            ],
        )

    @classmethod
    def execute(cls, mask: torch.Tensor, min_size: float) -> io.NodeOutput:
        return io.NodeOutput(split_masks(mask, min_size).float())
