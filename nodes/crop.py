"""Exemplar Crop To Mask and Exemplar Paste Back, for graphs with ComfyUI's own samplers."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..exemplar_model.region import Regions, find_regions
from .inputs import context_input, feather_input, match_color_input, resolution_input
from .node import ExemplarNode, ExemplarRegionSocket, schema

MULTIPLE = 8
"""ComfyUI's own nodes crop pictures to multiples of this."""


class ExemplarCropToMask(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ExemplarCropToMask",
            display_name="Exemplar Crop To Mask",
            description="Cuts the region around the mask out of a picture of any size, and "
            "resizes it to the size at which the model paints.",
            inputs=[
                io.Image.Input("image", tooltip="The picture to edit."),
                io.Mask.Input(
                    "mask", tooltip="1 = repaint. Several masks of one image are several regions."
                ),
                context_input(),
                resolution_input(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="One region per mask."),
                io.Mask.Output(
                    display_name="mask", tooltip="One mask per region, cut to the region."
                ),
                ExemplarRegionSocket.Output(
                    display_name="region",
                    tooltip="Where the region was cut from, for Exemplar Paste Back.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, mask: torch.Tensor, context: float, resolution: int
    ) -> io.NodeOutput:
        regions = find_regions(
            image, mask, resolution=resolution, multiple=MULTIPLE, context=context
        )
        return io.NodeOutput(*regions.crop(), regions)


class ExemplarPasteBack(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ExemplarPasteBack",
            display_name="Exemplar Paste Back",
            description="Pastes a painted region back into its picture; outside the mask and the "
            "feather around it nothing changes.",
            inputs=[
                ExemplarRegionSocket.Input("region", tooltip="From Exemplar Crop To Mask."),
                io.Image.Input("image", tooltip="The painted region, at any size."),
                feather_input(),
                match_color_input(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The whole picture."),
                io.Mask.Output(
                    display_name="mask", tooltip="Weight with which each pixel was pasted."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, region: Regions, image: torch.Tensor, feather: int, match_color: bool
    ) -> io.NodeOutput:
        return io.NodeOutput(*region.paste(image, feather, match_color))
