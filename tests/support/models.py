"""Small models with random weights: ours and the reference implementation's, on equal weights."""

from __future__ import annotations

import json
import shutil
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import PNDMScheduler

# diffusers no longer maintains it (its version 0.33 was the last), yet it is what ours has to equal
from diffusers.pipelines.deprecated.paint_by_example import PaintByExamplePipeline
from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig

from exemplar_model.encoder import EncoderConfig, load_encoder
from exemplar_model.standalone.components import Components, ModelConfig
from exemplar_model.weights.key_maps import encoder_from_diffusers

SHAPES = {
    # factor 8, two UNet levels, four mapper blocks fewer than published
    "narrow": ModelConfig(
        unet_channels=(32, 64, 64),
        unet_layers=1,
        autoencoder_channels=(32, 32, 64, 64),
        autoencoder_layers=1,
        encoder=EncoderConfig(64, 9, 1, 128, 224, 32, mapper_blocks=2, context_dim=48),
    ),
    # the published widths of the first two levels, factor 4 and, as in the shipped model, widths
    # of the autoencoder that are no multiples of the first, another patch size and head count
    "wide": ModelConfig(
        unet_channels=(320, 640),
        unet_layers=1,
        autoencoder_channels=(64, 64, 96),
        autoencoder_layers=2,
        encoder=EncoderConfig(128, 5, 2, 256, 224, 16, mapper_blocks=1, context_dim=768),
    ),
}


@dataclass(frozen=True)
class RandomModel:
    """One set of weights, as our components and as diffusers' image encoder."""

    components: Components
    image_encoder: PaintByExampleImageEncoder

    def reference_latents(
        self, image: Tensor, mask: Tensor, pixel_values: Tensor, noise: Tensor, steps: int
    ) -> Tensor:
        """Scaled latents of diffusers' pipeline: PLMS, guidance 5.

        Args:
            image: [B, 3, H, W] in [-1, 1].
            mask: [B, 1, H, W], 1 = repaint.
            pixel_values: normalised exemplars [B, 3, 224, 224].
            noise: [B, 4, h, w].
        """
        pipeline = PaintByExamplePipeline(
            vae=self.components.autoencoder,
            image_encoder=self.image_encoder,
            unet=self.components.unet,
            scheduler=PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(
            example_image=pixel_values,
            image=image,
            mask_image=mask,
            num_inference_steps=steps,
            guidance_scale=5.0,
            latents=noise,
            output_type="latent",
        ).images


def random_model(config: ModelConfig, seed: int = 0) -> RandomModel:
    """Weights drawn anew; the autoencoder's posterior is so narrow that a sample is its mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        components = Components.random(config)
        encoder = config.encoder
        image_encoder = PaintByExampleImageEncoder(
            CLIPVisionConfig(
                hidden_size=encoder.vision_width,
                intermediate_size=encoder.vision_mlp,
                num_hidden_layers=encoder.vision_layers,
                num_attention_heads=encoder.vision_heads,
                image_size=encoder.image_size,
                patch_size=encoder.patch_size,
            ),
            proj_size=encoder.context_dim,
        ).eval()
        with torch.no_grad():
            for parameter in image_encoder.parameters():  # layer norms and biases too
                parameter.add_(0.05 * torch.randn_like(parameter))
    with torch.no_grad():
        components.autoencoder.quant_conv.weight[4:] = 0.0
        components.autoencoder.quant_conv.bias[4:] = -30.0
    load_encoder(components.encoder, encoder_from_diffusers(image_encoder.state_dict()))
    return RandomModel(components, image_encoder)


def write_safetensors(path: Path, model: RandomModel, without: str | None = None) -> None:
    """The original layout in safetensors, optionally without the keys of one prefix."""
    tensors = {
        key: tensor.contiguous()
        for key, tensor in model.components.to_original().items()
        if without is None or not key.startswith(without)
    }
    save_file(tensors, path, metadata=model.components.config.hints)


class NumpyNumber:
    """Pickles as numpy pickles a float64, with a module name of choice for its function."""

    def __init__(self, module: str, value: float) -> None:
        def scalar(*_: object) -> None: ...

        scalar.__module__, scalar.__qualname__ = module, "scalar"
        self.scalar, self.value = scalar, np.float64(value)

    def __reduce__(self) -> tuple[Any, tuple[np.dtype[Any], bytes]]:
        return self.scalar, (self.value.dtype, self.value.tobytes())


def write_lightning(path: Path, model: RandomModel, numpy_module: str = "numpy.core") -> None:
    """The original layout as pytorch-lightning 1.4 pickles it.

    With schedule buffers, the tower's position ids of old, and a callback's state under the class
    of the callback, which a reader has to take without having pytorch-lightning. The best score is
    a number of numpy, under the module name of numpy 1, or of numpy 2 (`numpy._core`).
    """
    state: dict[str, Any] = dict(model.components.to_original())
    state["betas"] = torch.linspace(0.00085, 0.012, 1000)
    position_ids = "cond_stage_model.transformer.vision_model.embeddings.position_ids"
    state[position_ids] = torch.arange(50)[None]
    home = "pytorch_lightning.callbacks.model_checkpoint"
    packages = [home.rsplit(".", depth)[0] for depth in range(3)]
    callback = type("ModelCheckpoint", (), {"__module__": home})
    modules = {name: types.ModuleType(name) for name in (*packages, f"{numpy_module}.multiarray")}
    modules[home].ModelCheckpoint = callback  # type: ignore[attr-defined]
    score = NumpyNumber(f"{numpy_module}.multiarray", 0.125)
    modules[score.scalar.__module__].scalar = score.scalar  # type: ignore[attr-defined]
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        torch.save(
            {
                "epoch": 39,
                "global_step": 297_000,
                "pytorch-lightning_version": "1.4.2",
                "state_dict": state,
                "callbacks": {callback: {"best_model_path": "", "current_score": score}},
                "optimizer_states": [],
                "lr_schedulers": [],
            },
            path,
        )
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)


def write_diffusers(folder: Path, model: RandomModel, old_tower_names: bool = False) -> None:
    """A diffusers folder; before transformers 5 the tower's keys had one more prefix."""
    shutil.rmtree(folder, ignore_errors=True)
    model.components.unet.save_pretrained(folder / "unet")
    model.components.autoencoder.save_pretrained(folder / "vae")
    state = model.image_encoder.state_dict()
    if old_tower_names:
        state = {
            key.replace("model.", "model.vision_model.", 1) if key.startswith("model.") else key: t
            for key, t in state.items()
        }
    (folder / "image_encoder").mkdir()
    save_file(
        {key: tensor.contiguous() for key, tensor in state.items()},
        folder / "image_encoder" / "model.safetensors",
    )
    config = model.image_encoder.config.to_dict()
    (folder / "image_encoder" / "config.json").write_text(json.dumps(config, default=str))
    index = {"_class_name": "PaintByExamplePipeline"}
    (folder / "model_index.json").write_text(json.dumps(index))
