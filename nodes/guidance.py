"""Exemplar Guidance."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host.guidance import guide_within
from .node import ExemplarNode, schema


class ExemplarGuidance(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ExemplarGuidance",
            display_name="Exemplar Guidance",
            description="Limits classifier-free guidance (cfg) to an interval of the noise "
            "schedule; steps outside of it evaluate the model once instead of twice.",
            search_aliases=["cfg interval", "limited interval guidance"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Exemplar Model."),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where guidance begins; 0 is the noisy start of the schedule.",
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where guidance ends; 1 is the clean end of the schedule.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="For any sampler that has a cfg."),
            ],
        )

    @classmethod
    def execute(cls, model: Any, start: float, end: float) -> io.NodeOutput:
        return io.NodeOutput(guide_within(model, start, end))
