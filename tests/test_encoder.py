"""The exemplar encoder against diffusers' encoder and the reference repository's formulas."""

from __future__ import annotations

import math

import pytest
import torch
from support.models import SHAPES, random_model
from torch import Tensor

from exemplar_model.constants import CLIP_MEAN, CLIP_STD
from exemplar_model.encoder import (
    EncoderConfig,
    ExemplarEncoder,
    MapperAttention,
    MapperBlock,
    load_encoder,
    scale_context,
)
from exemplar_model.weights.reading import CheckpointError


def views(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 224, 224, generator=torch.Generator().manual_seed(5))


def normalise(view: Tensor) -> Tensor:
    return (view - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_context_equals_diffusers(shape: str) -> None:
    model = random_model(SHAPES[shape])
    with torch.inference_mode():
        context = model.components.encoder(views())
        expected, uncond = model.image_encoder(normalise(views()), return_uncond_vector=True)
    assert context.shape == (2, 1, SHAPES[shape].encoder.context_dim)
    torch.testing.assert_close(context, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.components.encoder.uncond_vector, uncond, rtol=0, atol=0)
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # the comparison is not of constants


def reference_norm(module: torch.nn.LayerNorm, value: Tensor) -> Tensor:
    centred = value - value.mean(-1, keepdim=True)
    scaled = centred / (value.var(-1, keepdim=True, unbiased=False) + module.eps).sqrt()
    return scaled * module.weight.double() + module.bias.double()


def reference_block(block: MapperBlock, x: Tensor, heads: int) -> Tensor:
    """`ResidualAttentionBlock` as ldm/modules/encoders/xf.py writes it, in double precision."""
    B, T, D = x.shape

    def linear(module: torch.nn.Linear, value: Tensor) -> Tensor:
        return value @ module.weight.double().T + module.bias.double()

    qkv = linear(block.attn.c_qkv, reference_norm(block.ln_1, x))
    width = D // heads
    scale = 1 / math.sqrt(math.sqrt(width))
    q, k, v = torch.split(qkv.view(B, T, heads, -1), width, dim=-1)
    weight = torch.einsum("bthc,bshc->bhts", q * scale, k * scale).softmax(-1)
    attended = torch.einsum("bhts,bshc->bthc", weight, v).reshape(B, T, -1)
    x = x + linear(block.attn.c_proj, attended)
    inner = linear(block.mlp.c_fc, reference_norm(block.ln_2, x))
    inner = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
    return x + linear(block.mlp.c_proj, inner)


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("tokens", [1, 5])
def test_mapper_block_equals_the_reference_formula(heads: int, tokens: int) -> None:
    torch.manual_seed(1)
    block = MapperBlock(32)
    block.attn = MapperAttention(32, heads)
    x = torch.randn(2, tokens, 32)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        result, expected = block(x), reference_block(block, x.double(), heads)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_tokens_equal_the_published_formula(shape: str) -> None:
    """ObjectStitch: post-layernorm of the last hidden state, mapper, final norm, projection."""
    encoder = random_model(SHAPES[shape]).components.encoder
    with torch.no_grad():
        context = encoder(views(), "all tokens")
        hidden = encoder.clip_vision(normalise(views()), output_hidden_states=True).hidden_states
        tower = getattr(encoder.clip_vision, "vision_model", encoder.clip_vision)
        x = reference_norm(tower.post_layernorm, hidden[-1].double())
        for block in encoder.mapper.resblocks:
            x = reference_block(block, x, heads=1)
        x = reference_norm(encoder.final_ln, x)
        expected = x @ encoder.proj_out.weight.double().T + encoder.proj_out.bias.double()
    config = SHAPES[shape].encoder
    patches = (config.image_size // config.patch_size) ** 2
    assert context.shape == (2, 1 + patches, config.context_dim)
    torch.testing.assert_close(context.double(), expected, rtol=1e-4, atol=1e-4)


def test_with_all_tokens_the_mapper_attends() -> None:
    """The class token sees the patches: its context is another one than alone."""
    encoder = random_model(SHAPES["narrow"]).components.encoder
    with torch.no_grad():
        among, alone = encoder(views(), "all tokens")[:, :1], encoder(views())
    assert (among - alone).abs().max() > 1e-3


def test_one_token_makes_queries_and_keys_inert() -> None:
    attention = MapperAttention(16)
    x = torch.randn(3, 1, 16)
    before = attention(x)
    with torch.no_grad():
        attention.c_qkv.weight[:32].normal_()
    torch.testing.assert_close(attention(x), before, rtol=0, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_are_read_from_shapes(shape: str) -> None:
    config = SHAPES[shape].encoder
    state = ExemplarEncoder(config).state_dict()
    assert EncoderConfig.from_state_dict(state) == config


def test_published_sizes_are_the_default() -> None:
    with torch.device("meta"):
        encoder = ExemplarEncoder(EncoderConfig())
    parameters = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    assert parameters["mapper.resblocks.4.attn.c_qkv.weight"] == (3072, 1024)
    assert parameters["proj_out.weight"] == (768, 1024)
    assert parameters["clip_vision.embeddings.position_embedding.weight"] == (257, 1024)
    assert EncoderConfig.from_state_dict(encoder.state_dict()) == EncoderConfig()


def test_missing_tensor_is_refused() -> None:
    encoder = ExemplarEncoder(SHAPES["narrow"].encoder)
    state = dict(encoder.state_dict())
    del state["final_ln.bias"]
    with pytest.raises(CheckpointError, match=r"final_ln\.bias"):
        load_encoder(encoder, state)


def test_strength_runs_from_null_to_context_and_beyond() -> None:
    context, null = torch.randn(3, 1, 8), torch.randn(1, 1, 8)
    assert torch.equal(scale_context(context, null, 0.0), null.expand(3, 1, 8))
    assert torch.equal(scale_context(context, null, 1.0), context)
    torch.testing.assert_close(scale_context(context, null, 2.0), 2 * context - null)
    half = scale_context(context, null, 0.5)
    torch.testing.assert_close(half, (context + null) / 2)
