"""Save Exemplar and Load Exemplar."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui

from ..exemplar_model.saved import SavedExemplar
from .host.encoder import HostEncoder
from .host.errors import plain_errors
from .host.files import file_stamp
from .host.saved_exemplars import EXEMPLARS, new_exemplar_path, output_entry, to_conditioning
from .node import ExemplarEncoderSocket, ExemplarNode, schema
from .outputs import exemplar_outputs


class SaveExemplar(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SaveExemplar",
            display_name="Save Exemplar",
            description="Saves an encoded exemplar as a file in output/exemplars, for Load "
            "Exemplar.",
            is_output_node=True,
            inputs=[
                io.Conditioning.Input("positive", tooltip="From Encode Exemplar."),
                io.Conditioning.Input("negative", tooltip="From Encode Exemplar."),
                io.Image.Input("view", tooltip="From Encode Exemplar; kept as the thumbnail."),
                ExemplarEncoderSocket.Input(
                    "encoder",
                    tooltip="The encoder that made it; the file works with its model only.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="exemplar",
                    tooltip="Name of the file, a number follows; flowers/rose makes a subfolder.",
                ),
            ],
            outputs=[],
        )

    @classmethod
    def execute(
        cls,
        positive: list[Any],
        negative: list[Any],
        view: torch.Tensor,
        encoder: HostEncoder,
        filename_prefix: str,
    ) -> io.NodeOutput:
        saved = SavedExemplar(
            only_context(positive, "positive", encoder.context_dim),
            only_context(negative, "negative", encoder.context_dim),
            view,
            encoder.identity,
        )
        path = new_exemplar_path(filename_prefix)
        saved.write(path)
        shown = ui.PreviewImage(view, cls=cls).as_dict()
        return io.NodeOutput(ui={**shown, "exemplars": [output_entry(path)]})


def only_context(conditioning: list[Any], what: str, width: int) -> torch.Tensor:
    """The context [B, T, D] of a conditioning that holds nothing else.

    Raises:
        ValueError: it holds what a file cannot keep, or comes from another encoder.
    """
    if len(conditioning) != 1:
        raise ValueError(
            f"{what} combines {len(conditioning)} conditionings; save each in a file of its own."
        )
    context, options = conditioning[0]
    if options:
        raise ValueError(
            f"{what} carries more than an exemplar ({', '.join(sorted(options))}); connect it as "
            "Encode Exemplar made it, and apply other nodes after loading."
        )
    if context.shape[-1] != width:
        raise ValueError(
            f"{what} has {context.shape[-1]} channels where this encoder makes {width}; connect "
            "the encoder that made it."
        )
    return context


class LoadExemplar(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="LoadExemplar",
            display_name="Load Exemplar",
            description="Loads an exemplar that Save Exemplar wrote, in place of Encode Exemplar.",
            inputs=[
                io.Combo.Input(
                    "exemplar_name",
                    options=EXEMPLARS.names(),
                    tooltip="From the model folder exemplar_embeddings, and from the output "
                    "folder's subfolder exemplars.",
                ),
                ExemplarEncoderSocket.Input(
                    "encoder",
                    tooltip="From Load Exemplar Model; the file must belong to that model.",
                ),
            ],
            outputs=exemplar_outputs(),
        )

    @classmethod
    def validate_inputs(cls, exemplar_name: str | None) -> bool | str:
        return cls.choice_error(exemplar_name=exemplar_name) or True

    @classmethod
    def fingerprint_inputs(cls, exemplar_name: str, encoder: None = None) -> str:
        return file_stamp(EXEMPLARS.path(exemplar_name))

    @classmethod
    def execute(cls, exemplar_name: str, encoder: HostEncoder) -> io.NodeOutput:
        with plain_errors():
            saved = SavedExemplar.read(EXEMPLARS.path(exemplar_name))
            saved.require_model(encoder.identity, exemplar_name)
        return io.NodeOutput(
            *to_conditioning(saved), saved.view, ui=ui.PreviewImage(saved.view, cls=cls)
        )
