"""Inputs that several nodes share."""

from __future__ import annotations

from comfy_api.latest import io

from ..exemplar_model.region import MIN_RESOLUTION


def context_input() -> io.Float.Input:
    return io.Float.Input(
        "context",
        default=2.0,
        min=1.0,
        max=8.0,
        step=0.1,
        tooltip="Size of the region relative to the mask's bounding box: 2 = twice as wide and "
        "high.",
    )


def resolution_input() -> io.Int.Input:
    return io.Int.Input(
        "resolution",
        default=512,
        min=MIN_RESOLUTION,
        max=4096,
        step=8,
        tooltip="Painting resolution in pixels: side of a square of equal area. The official model "
        "was trained at 512.",
    )


def feather_input() -> io.Int.Input:
    return io.Int.Input(
        "feather",
        default=0,
        min=0,
        max=256,
        tooltip="Pixels outside the mask over which the painted region fades into the picture; "
        "at 0 nothing changes outside the mask.",
    )


def match_color_input() -> io.Boolean.Input:
    return io.Boolean.Input(
        "match_color",
        default=True,
        tooltip="Fit the painted area to the picture at its border, against seams "
        "(gradient-domain blend).",
    )
