"""Exemplar Reference Sampler."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..exemplar_model.sampler import SAMPLERS
from .host.model import require_exemplar_model
from .host.samplers import ReferenceSampler, reference_schedule
from .node import ExemplarNode, schema


class ExemplarReferenceSampler(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ExemplarReferenceSampler",
            display_name="Exemplar Reference Sampler",
            description="The paper's own sampler and timesteps, for SamplerCustom and "
            "SamplerCustomAdvanced.",
            inputs=[
                io.Model.Input("model", tooltip="From Load Exemplar Model, for its noise levels."),
                io.Combo.Input(
                    "algorithm",
                    options=list(SAMPLERS),
                    default="plms",
                    tooltip="plms is the paper's sampler; its first step evaluates the model "
                    "twice.",
                ),
                io.Int.Input(
                    "steps",
                    default=50,
                    min=1,
                    max=1000,
                    tooltip="Steps over the whole schedule; a number that does not divide 1000 "
                    "gives a few more, as in the reference.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the schedule to run. 1 starts from pure noise and ignores "
                    "the latent image.",
                ),
            ],
            outputs=[
                io.Sampler.Output(
                    display_name="sampler", tooltip="For SamplerCustom or SamplerCustomAdvanced."
                ),
                io.Sigmas.Output(
                    display_name="sigmas",
                    tooltip="The noise levels; they end at that of timestep 0, which is not zero.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, algorithm: str | None) -> bool | str:
        return cls.choice_error(algorithm=algorithm) or True

    @classmethod
    def execute(cls, model: Any, algorithm: str, steps: int, denoise: float) -> io.NodeOutput:
        cls.require_choices(algorithm=algorithm)
        require_exemplar_model(model)
        sigmas = reference_schedule(model, steps, denoise)
        return io.NodeOutput(ReferenceSampler.for_schedule(algorithm, sigmas, denoise), sigmas)
