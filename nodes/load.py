"""Load Exemplar Model."""

from __future__ import annotations

from comfy_api.latest import io

from ..exemplar_model.weights.checkpoint import read_checkpoint
from .host.autoencoder import build_autoencoder
from .host.encoder import build_encoder
from .host.errors import plain_errors
from .host.files import MODELS, file_stamp, read_weights
from .host.model import build_model
from .host.precision import WEIGHT_DTYPES
from .host.preview import fit_preview
from .node import ExemplarEncoderSocket, ExemplarNode, schema


class LoadExemplarModel(ExemplarNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="LoadExemplarModel",
            display_name="Load Exemplar Model",
            description="Loads a Paint by Example model: denoiser, exemplar encoder and VAE.",
            search_aliases=["paint by example", "exemplar inpainting"],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=MODELS.names(),
                    tooltip="Original .ckpt, .safetensors or diffusers folder, from the model "
                    "folders exemplar, checkpoints, diffusion_models and diffusers.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(WEIGHT_DTYPES),
                    default="default",
                    tooltip="Precision of the denoiser's and the encoder's weights in memory. "
                    "default leaves the choice to ComfyUI; on CPUs with AMX, bf16 samples about "
                    "three times as fast.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The denoiser."),
                ExemplarEncoderSocket.Output(
                    display_name="encoder", tooltip="The exemplar encoder, for Encode Exemplar."
                ),
                io.Vae.Output(display_name="vae", tooltip="The autoencoder of the model."),
            ],
        )

    @classmethod
    def validate_inputs(cls, model_name: str | None, weight_dtype: str | None) -> bool | str:
        return cls.choice_error(model_name=model_name, weight_dtype=weight_dtype) or True

    @classmethod
    def fingerprint_inputs(cls, model_name: str, weight_dtype: str) -> str:
        return file_stamp(MODELS.path(model_name))

    @classmethod
    def execute(cls, model_name: str, weight_dtype: str) -> io.NodeOutput:
        cls.require_choices(weight_dtype=weight_dtype)
        path = MODELS.path(model_name)
        with plain_errors():
            checkpoint = read_checkpoint(path, read_weights)
            model = build_model(checkpoint, weight_dtype, path)
        encoder = build_encoder(checkpoint, weight_dtype, model_name)
        vae = build_autoencoder(checkpoint)
        fit_preview(model, vae, checkpoint)
        return io.NodeOutput(model, encoder, vae)
