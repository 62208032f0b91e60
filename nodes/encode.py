"""Encode Exemplar."""

from __future__ import annotations

from typing import get_args

import torch
from comfy_api.latest import io, ui

from ..exemplar_model.encoder import Tokens, scale_context
from ..exemplar_model.exemplar import Background, Framing, exemplar_view
from .host.encoder import HostEncoder
from .node import ExemplarEncoderSocket, ExemplarNode, schema
from .outputs import exemplar_outputs


class EncodeExemplar(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EncodeExemplar",
            display_name="Encode Exemplar",
            description="Turns the picture of an object, the exemplar, into conditioning: what to "
            "paint.",
            inputs=[
                ExemplarEncoderSocket.Input("encoder", tooltip="From Load Exemplar Model."),
                io.Image.Input(
                    "image",
                    tooltip="The exemplar: a picture of the object to paint. Several make a batch.",
                ),
                io.Combo.Input(
                    "framing",
                    options=list(get_args(Framing)),
                    default="stretch",
                    tooltip="How a picture becomes square: stretch as in training, pad with gray, "
                    "or crop the center.",
                ),
                io.Combo.Input(
                    "merge",
                    options=["separate", "average"],
                    default="separate",
                    tooltip="What several pictures become: separate gives one exemplar for each "
                    "region or image, average a single exemplar from pictures of one object.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How much of the exemplar: 0 is none (the model's learned null "
                    "condition), 1 is the exemplar, more exaggerates it.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Selects the object (1 = the object): the picture is cropped to it.",
                ),
                io.Combo.Input(
                    "mask_background",
                    options=list(get_args(Background)),
                    default="keep",
                    tooltip="What to put around the object if a mask is given.",
                ),
                io.Combo.Input(
                    "tokens",
                    options=list(get_args(Tokens)),
                    default="class token",
                    optional=True,
                    tooltip="Paint by Example was trained on CLIP's class token; all tokens is for "
                    "models that were trained on all of them, such as ObjectStitch.",
                ),
            ],
            outputs=exemplar_outputs(),
        )

    @classmethod
    def validate_inputs(
        cls,
        framing: str | None,
        merge: str | None,
        mask_background: str | None,
        tokens: str | None = None,
    ) -> bool | str:
        choices = {"framing": framing, "merge": merge, "tokens": tokens}
        return cls.choice_error(**choices, mask_background=mask_background) or True

    @classmethod
    def execute(
        cls,
        encoder: HostEncoder,
        image: torch.Tensor,
        framing: Framing,
        merge: str,
        strength: float,
        mask_background: Background,
        mask: torch.Tensor | None = None,
        tokens: Tokens = "class token",
    ) -> io.NodeOutput:
        choices = {"framing": framing, "merge": merge, "tokens": tokens}
        cls.require_choices(**choices, mask_background=mask_background)
        masks = [None] if mask is None else list(mask.reshape(-1, *mask.shape[-2:]))
        if len(masks) not in (1, len(image)):
            raise ValueError(
                f"{len(image)} exemplars and {len(masks)} exemplar masks cannot be paired; give "
                "one mask, or one for each exemplar."
            )
        masks = masks * len(image) if len(masks) == 1 else masks
        view = torch.stack(
            [
                exemplar_view(picture, encoder.image_size, framing, each, mask_background)
                for picture, each in zip(image, masks, strict=True)
            ]
        )
        context, null = encoder.encode(view, tokens)
        if merge == "average":
            context = context.mean(dim=0, keepdim=True)
        return io.NodeOutput(
            [[scale_context(context, null, strength), {}]],
            [[null, {}]],
            view,
            ui=ui.PreviewImage(view, cls=cls),
        )
