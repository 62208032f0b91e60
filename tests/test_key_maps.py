"""Names of tensors in diffusers folders and in the original checkpoint."""

from __future__ import annotations

import pytest
import torch
from support.models import SHAPES

from exemplar_model.standalone.components import Components, ModelConfig
from exemplar_model.weights.key_maps import (
    autoencoder_from_diffusers,
    encoder_from_diffusers,
    unet_from_diffusers,
)


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Size]:
    """Names and shapes of the full-size model, without memory for its weights."""
    with torch.device("meta"):
        tensors = Components.random(ModelConfig()).to_original()
    return {name: tensor.shape for name, tensor in tensors.items()}


def test_full_size_has_the_tensors_of_the_original(published: dict[str, torch.Size]) -> None:
    """Counts of the Stable Diffusion 1 UNet and autoencoder, and a few names with their shapes."""
    unet = [name for name in published if name.startswith("model.diffusion_model.")]
    autoencoder = [name for name in published if name.startswith("first_stage_model.")]
    assert (len(unet), len(autoencoder)) == (686, 248)
    parameters = sum(published[name].numel() for name in unet)
    assert parameters == 859_520_964 + 5 * 9 * 320  # Stable Diffusion 1 and five more channels
    attention = "transformer_blocks.0.attn2.to_k.weight"
    for name, shape in {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3),
        "model.diffusion_model.input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
        "model.diffusion_model.input_blocks.9.0.op.weight": (1280, 1280, 3, 3),
        f"model.diffusion_model.middle_block.1.{attention}": (1280, 768),
        "model.diffusion_model.output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "model.diffusion_model.output_blocks.8.2.conv.weight": (640, 640, 3, 3),
        f"model.diffusion_model.output_blocks.11.1.{attention}": (320, 768),
        "first_stage_model.encoder.down.1.block.0.nin_shortcut.weight": (256, 128, 1, 1),
        "first_stage_model.encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
        "first_stage_model.decoder.up.1.block.0.nin_shortcut.weight": (256, 512, 1, 1),
        "first_stage_model.decoder.up.3.upsample.conv.weight": (512, 512, 3, 3),
        "cond_stage_model.transformer.vision_model.embeddings.class_embedding": (1024,),
        "cond_stage_model.transformer.vision_model.pre_layrnorm.weight": (1024,),
        "cond_stage_model.mapper.resblocks.4.mlp.c_fc.weight": (4096, 1024),
        "cond_stage_model.final_ln.weight": (1024,),
        "proj_out.weight": (768, 1024),
        "learnable_vector": (1, 1, 768),
    }.items():
        assert published[name] == shape, name


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_lost_or_made_up(shape: str) -> None:
    torch.manual_seed(0)
    components = Components.random(SHAPES[shape])
    for module, convert in (
        (components.unet, unet_from_diffusers),
        (components.autoencoder, autoencoder_from_diffusers),
    ):
        before, after = module.state_dict(), convert(module.state_dict())
        assert len(after) == len(before)
        sums = [sorted(float(t.double().sum()) for t in each.values()) for each in (before, after)]
        assert sums[0] == pytest.approx(sums[1], abs=1e-12)


def test_old_names_of_the_autoencoders_attention() -> None:
    """diffusers called them query, key, value and proj_attn, with linear weights."""
    torch.manual_seed(0)
    state = Components.random(SHAPES["narrow"]).autoencoder.state_dict()
    renames = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = dict(state)
    for new_name, old_name in renames.items():
        for key in list(old):
            if f"attentions.0.{new_name}." in key:
                old[key.replace(new_name, old_name)] = old.pop(key)
    assert old.keys() != state.keys()
    expected, result = autoencoder_from_diffusers(state), autoencoder_from_diffusers(old)
    assert result.keys() == expected.keys()
    assert all(torch.equal(result[key], expected[key]) for key in expected)


def test_unknown_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown use: control\.weight"):
        unet_from_diffusers({"control.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="needs to_q, to_k and to_v"):
        encoder_from_diffusers({"mapper.blocks.0.attn1.to_q.weight": torch.zeros(4, 4)})
