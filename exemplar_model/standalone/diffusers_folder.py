"""What a diffusers folder holds besides weights, so that diffusers' own classes load it.

The index names the image encoder as the published folder does. diffusers 0.42 resolves that name no
longer, for the published folder neither; there each component loads by its own class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from transformers import CLIPImageProcessor, CLIPVisionConfig

from ..constants import LINEAR_END, LINEAR_START, NUM_TIMESTEPS
from .components import ModelConfig, new_autoencoder, new_unet

MODEL_INDEX = """{
  "_class_name": "PaintByExamplePipeline",
  "feature_extractor": ["transformers", "CLIPImageProcessor"],
  "image_encoder": ["paint_by_example", "PaintByExampleImageEncoder"],
  "requires_safety_checker": false,
  "safety_checker": [null, null],
  "scheduler": ["diffusers", "PNDMScheduler"],
  "unet": ["diffusers", "UNet2DConditionModel"],
  "vae": ["diffusers", "AutoencoderKL"]
}
"""


def write_configs(folder: Path, config: ModelConfig) -> None:
    """Write the configurations of all components, and the index that names them."""
    encoder, view = config.encoder, config.encoder.image_size
    with torch.device("meta"):
        of_diffusers: dict[str, Any] = {
            "unet": new_unet(config),
            "vae": new_autoencoder(config),
            "scheduler": PNDMScheduler(
                num_train_timesteps=NUM_TIMESTEPS,
                beta_start=LINEAR_START,
                beta_end=LINEAR_END,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                steps_offset=1,
            ),
        }
    of_transformers: dict[str, Any] = {
        "image_encoder": CLIPVisionConfig(
            architectures=["PaintByExampleImageEncoder"],
            hidden_size=encoder.vision_width,
            intermediate_size=encoder.vision_mlp,
            num_hidden_layers=encoder.vision_layers,
            num_attention_heads=encoder.vision_heads,
            image_size=view,
            patch_size=encoder.patch_size,
            projection_dim=encoder.context_dim,
        ),
        "feature_extractor": CLIPImageProcessor(
            size={"shortest_edge": view}, crop_size={"height": view, "width": view}
        ),
    }
    for name, component in of_diffusers.items():
        component.save_config(folder / name)
    for name, component in of_transformers.items():
        component.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(MODEL_INDEX)
