"""Exemplar Prepare Mask."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..exemplar_model.mask import prepare_masks
from .node import ExemplarNode, schema

KEEP_ALL, KEEP_LARGEST = "all parts", "largest part"


class ExemplarPrepareMask(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ExemplarPrepareMask",
            display_name="Exemplar Prepare Mask",
            description="Cleans a mask: threshold, largest area, holes, then growing or shrinking.",
            search_aliases=["fill holes", "grow mask", "shrink mask", "keep largest", "clean mask"],
            inputs=[
                io.Mask.Input("mask", tooltip="1 = repaint. Several masks are cleaned one by one."),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Pixels of at least this value are repainted, all others kept.",
                ),
                io.Int.Input(
                    "grow",
                    default=0,
                    min=-256,
                    max=256,
                    tooltip="Pixels to grow the mask by in all directions; below 0 shrinks it.",
                ),
                io.Boolean.Input(
                    "fill_holes", default=True, tooltip="Repaint also what the mask encloses."
                ),
                io.Combo.Input(
                    "keep",
                    options=[KEEP_ALL, KEEP_LARGEST],
                    default=KEEP_ALL,
                    tooltip="Which of the mask's separate areas to keep: all of them, or the "
                    "largest alone, without specks.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask",
                    tooltip="The cleaned masks: every pixel 0 or 1, same size as the input.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, keep: str | None) -> bool | str:
        return cls.choice_error(keep=keep) or True

    @classmethod
    def execute(
        cls, mask: torch.Tensor, threshold: float, grow: int, fill_holes: bool, keep: str
    ) -> io.NodeOutput:
        cls.require_choices(keep=keep)
        masks = prepare_masks(mask, threshold, grow, fill_holes, keep == KEEP_LARGEST)
        return io.NodeOutput(masks.float())
