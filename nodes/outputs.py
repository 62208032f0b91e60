"""Outputs that several nodes share."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io


def exemplar_outputs() -> list[Any]:
    return [
        io.Conditioning.Output(display_name="positive", tooltip="The exemplar."),
        io.Conditioning.Output(display_name="negative", tooltip="The learned null condition."),
        io.Image.Output(display_name="view", tooltip="What the encoder saw."),
    ]
