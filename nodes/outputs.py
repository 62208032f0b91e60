"""Outputs that several nodes share."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io


def exemplar_outputs() -> list[Any]:
    return [
        io.Conditioning.Output(display_name="positive", tooltip="The exemplar."),
        io.Conditioning.Output(
            display_name="negative",
            tooltip="The model's learned null condition; guidance leads away from it.",
        ),
        io.Image.Output(display_name="view", tooltip="The picture that the encoder saw."),
    ]
