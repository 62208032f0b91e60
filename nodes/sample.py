"""Exemplar Inpaint Sampler."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..exemplar_model.region import find_regions
from .host.model import require_exemplar_model
from .host.painting import exemplar_counts, paint_regions
from .host.samplers import sampler_names, scheduler_names
from .inputs import context_input, feather_input, match_color_input, resolution_input
from .node import ExemplarNode, schema

AROUND_MASK, WHOLE_IMAGE = "around mask", "whole image"


class ExemplarInpaintSampler(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ExemplarInpaintSampler",
            display_name="Exemplar Inpaint Sampler",
            description="Paints the exemplar into the masked area and pastes the result back.",
            search_aliases=["paint by example"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Exemplar Model."),
                io.Conditioning.Input("positive", tooltip="From Encode Exemplar."),
                io.Conditioning.Input("negative", tooltip="From Encode Exemplar."),
                io.Vae.Input("vae", tooltip="From Load Exemplar Model."),
                io.Image.Input("image", tooltip="The picture to edit, of any size."),
                io.Mask.Input(
                    "mask",
                    tooltip="1 = repaint. Several masks of one image are several regions, each "
                    "with its own exemplar or all with the same.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Seed of the noise that sampling starts from.",
                ),
                io.Int.Input("steps", default=25, min=1, max=1000, tooltip="Sampling steps."),
                io.Float.Input(
                    "cfg",
                    default=5.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Guidance scale: how strongly to follow the exemplar; 5 in the paper.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=sampler_names(),
                    default="dpmpp_2m",
                    tooltip="plms is the paper's sampler (50 steps), the others are ComfyUI's.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=scheduler_names(),
                    default="karras",
                    tooltip="With plms, ddim_uniform stands for the paper's own timesteps.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Below 1 sampling starts from the picture under the mask, or from its "
                    "surroundings where it was erased; 1 starts from pure noise.",
                ),
                io.Combo.Input(
                    "region",
                    options=[AROUND_MASK, WHOLE_IMAGE],
                    default=AROUND_MASK,
                    tooltip="What the model sees and paints: a region around the mask, in the "
                    "mask's proportions (keeps detail, costs the same for every photo), or the "
                    "whole image.",
                ),
                context_input(),
                resolution_input(),
                feather_input(),
                match_color_input(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The whole picture."),
                io.Latent.Output(display_name="latent", tooltip="Latent of the sampled region."),
                io.Mask.Output(
                    display_name="mask", tooltip="Weight with which each pixel was pasted."
                ),
                io.Image.Output(
                    display_name="region", tooltip="The sampled region before pasting."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, sampler_name: str | None, scheduler: str | None, region: str | None
    ) -> bool | str:
        error = cls.choice_error(sampler_name=sampler_name, scheduler=scheduler, region=region)
        return error or True

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: list[Any],
        negative: list[Any],
        vae: Any,
        image: torch.Tensor,
        mask: torch.Tensor,
        region: str,
        context: float,
        resolution: int,
        feather: int,
        match_color: bool,
        **settings: Any,
    ) -> io.NodeOutput:
        cls.require_choices(
            sampler_name=settings["sampler_name"], scheduler=settings["scheduler"], region=region
        )
        require_exemplar_model(model)
        regions = find_regions(
            image,
            mask,
            resolution=resolution,
            multiple=vae.spacial_compression_encode(),
            context=context if region == AROUND_MASK else None,
            feather_pixels=feather,
            exemplar_counts=exemplar_counts(positive, negative),
        )
        latent, painted = paint_regions(model, positive, negative, vae, *regions.crop(), **settings)
        picture, pasted = regions.paste(painted, feather, match_color)
        return io.NodeOutput(picture, {"samples": latent}, pasted, painted)
