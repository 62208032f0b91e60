"""Names and shapes of all tensors that a model of given sizes has, in the original layout."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, strided

from ..constants import LATENT_CHANNELS, UNET_CHANNELS
from .reading import CheckpointError
from .sizes import AutoencoderConfig, EncoderConfig, UNetConfig

RGB = 3


class Shapes(dict[str, tuple[int, ...]]):
    """Shapes of tensors by their names."""

    def layer(self, name: str, *weight: int) -> None:
        """A linear layer, a convolution or a norm, with a bias."""
        self[f"{name}.weight"], self[f"{name}.bias"] = weight, weight[:1]

    def conv(self, name: str, inputs: int, outputs: int, side: int = 3) -> None:
        """A convolution with a bias."""
        self.layer(name, outputs, inputs, side, side)


def unet_shapes(config: UNetConfig) -> Shapes:
    """Shapes of a UNet's tensors, named without the prefix `model.diffusion_model.`."""
    shapes, channels = Shapes(), config.channels
    time = 4 * channels[0]

    def resnet(name: str, inputs: int, outputs: int) -> None:
        shapes.layer(f"{name}.in_layers.0", inputs)
        shapes.conv(f"{name}.in_layers.2", inputs, outputs)
        shapes.layer(f"{name}.emb_layers.1", outputs, time)
        shapes.layer(f"{name}.out_layers.0", outputs)
        shapes.conv(f"{name}.out_layers.3", outputs, outputs)
        if inputs != outputs:
            shapes.conv(f"{name}.skip_connection", inputs, outputs, 1)

    def transformer(name: str, width: int) -> None:
        block = f"{name}.transformer_blocks.0"
        for norm in (f"{name}.norm", f"{block}.norm1", f"{block}.norm2", f"{block}.norm3"):
            shapes.layer(norm, width)
        for projection in ("proj_in", "proj_out"):
            shapes.conv(f"{name}.{projection}", width, width, 1)
        for attention, tokens in (("attn1", width), ("attn2", config.context_dim)):
            shapes[f"{block}.{attention}.to_q.weight"] = (width, width)
            shapes[f"{block}.{attention}.to_k.weight"] = (width, tokens)
            shapes[f"{block}.{attention}.to_v.weight"] = (width, tokens)
            shapes.layer(f"{block}.{attention}.to_out.0", width, width)
        shapes.layer(f"{block}.ff.net.0.proj", 8 * width, width)  # GEGLU: values and gates
        shapes.layer(f"{block}.ff.net.2", width, 4 * width)

    shapes.layer("time_embed.0", time, channels[0])
    shapes.layer("time_embed.2", time, time)
    shapes.conv("input_blocks.0.0", UNET_CHANNELS, channels[0])
    skipped, width, last = [channels[0]], channels[0], len(channels) - 1
    for level, outputs in enumerate(channels):
        for _ in range(config.residual_blocks):
            resnet(f"input_blocks.{len(skipped)}.0", width, outputs)
            if config.attends[level]:
                transformer(f"input_blocks.{len(skipped)}.1", outputs)
            width = outputs
            skipped.append(width)
        if level < last:
            shapes.conv(f"input_blocks.{len(skipped)}.0.op", width, width)
            skipped.append(width)
    resnet("middle_block.0", width, width)
    transformer("middle_block.1", width)
    resnet("middle_block.2", width, width)
    block = 0
    for level in range(last, -1, -1):
        for index in range(config.residual_blocks + 1):
            resnet(f"output_blocks.{block}.0", width + skipped.pop(), channels[level])
            width = channels[level]
            if config.attends[level]:
                transformer(f"output_blocks.{block}.1", width)
            if level and index == config.residual_blocks:
                upsampler = 2 if config.attends[level] else 1
                shapes.conv(f"output_blocks.{block}.{upsampler}.conv", width, width)
            block += 1
    shapes.layer("out.0", width)
    shapes.conv("out.2", width, LATENT_CHANNELS)
    return shapes


def autoencoder_shapes(config: AutoencoderConfig) -> Shapes:
    """Shapes of an autoencoder's tensors, named without the prefix `first_stage_model.`."""
    shapes, widths = Shapes(), config.widths
    inner, last = widths[-1], len(widths) - 1

    def resnet(name: str, inputs: int, outputs: int) -> None:
        shapes.layer(f"{name}.norm1", inputs)
        shapes.conv(f"{name}.conv1", inputs, outputs)
        shapes.layer(f"{name}.norm2", outputs)
        shapes.conv(f"{name}.conv2", outputs, outputs)
        if inputs != outputs:
            shapes.conv(f"{name}.nin_shortcut", inputs, outputs, 1)

    for side in ("encoder", "decoder"):
        resnet(f"{side}.mid.block_1", inner, inner)
        resnet(f"{side}.mid.block_2", inner, inner)
        shapes.layer(f"{side}.mid.attn_1.norm", inner)
        for projection in ("q", "k", "v", "proj_out"):
            shapes.conv(f"{side}.mid.attn_1.{projection}", inner, inner, 1)
    shapes.conv("encoder.conv_in", RGB, widths[0])
    width = widths[0]
    for level, outputs in enumerate(widths):
        for index in range(config.residual_blocks):
            resnet(f"encoder.down.{level}.block.{index}", width, outputs)
            width = outputs
        if level < last:
            shapes.conv(f"encoder.down.{level}.downsample.conv", width, width)
    shapes.layer("encoder.norm_out", inner)
    shapes.conv("encoder.conv_out", inner, 2 * LATENT_CHANNELS)  # mean and log variance
    shapes.conv("quant_conv", 2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)
    shapes.conv("post_quant_conv", LATENT_CHANNELS, LATENT_CHANNELS, 1)
    shapes.conv("decoder.conv_in", LATENT_CHANNELS, inner)
    for level in range(last, -1, -1):
        for index in range(config.residual_blocks + 1):
            resnet(f"decoder.up.{level}.block.{index}", width, widths[level])
            width = widths[level]
        if level:
            shapes.conv(f"decoder.up.{level}.upsample.conv", width, width)
    shapes.layer("decoder.norm_out", width)
    shapes.conv("decoder.conv_out", width, RGB)
    return shapes


def encoder_shapes(config: EncoderConfig) -> Shapes:
    """Shapes of an exemplar encoder's tensors, named as `Checkpoint.encoder` names them."""
    shapes, width = tower_shapes(config), config.vision_width
    for index in range(config.mapper_blocks):
        block = f"mapper.resblocks.{index}"
        shapes.layer(f"{block}.ln_1", width)
        shapes.layer(f"{block}.ln_2", width)
        shapes.layer(f"{block}.attn.c_qkv", 3 * width, width)
        shapes.layer(f"{block}.attn.c_proj", width, width)
        shapes.layer(f"{block}.mlp.c_fc", 4 * width, width)
        shapes.layer(f"{block}.mlp.c_proj", width, 4 * width)
    shapes.layer("final_ln", width)
    shapes.layer("proj_out", config.context_dim, width)
    shapes["uncond_vector"] = (1, 1, config.context_dim)
    return shapes


def tower_shapes(config: EncoderConfig) -> Shapes:
    """Shapes of a CLIP vision tower's tensors, named `clip_vision.…`."""
    shapes, width, patch = Shapes(), config.vision_width, config.patch_size
    patches = (config.image_size // patch) ** 2
    shapes["clip_vision.embeddings.class_embedding"] = (width,)
    shapes["clip_vision.embeddings.patch_embedding.weight"] = (width, RGB, patch, patch)
    shapes["clip_vision.embeddings.position_embedding.weight"] = (1 + patches, width)
    for norm in ("pre_layrnorm", "post_layernorm"):
        shapes.layer(f"clip_vision.{norm}", width)
    for index in range(config.vision_layers):
        layer = f"clip_vision.encoder.layers.{index}"
        shapes.layer(f"{layer}.layer_norm1", width)
        shapes.layer(f"{layer}.layer_norm2", width)
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes.layer(f"{layer}.self_attn.{projection}", width, width)
        shapes.layer(f"{layer}.mlp.fc1", config.vision_mlp, width)
        shapes.layer(f"{layer}.mlp.fc2", width, config.vision_mlp)
    return shapes


def require_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise CheckpointError unless just these tensors are there, of these shapes and of floats.

    The message is the reason alone, without a file's name or a cure.
    """
    faults = dict.fromkeys(expected.keys() - tensors.keys(), "is missing")
    faults |= dict.fromkeys(tensors.keys() - expected.keys(), "is of unknown use")
    for name in expected.keys() & tensors.keys():
        tensor, shape = tensors[name], expected[name]
        if tensor.shape != shape:
            faults[name] = f"has shape {list(tensor.shape)} in place of {list(shape)}"
        elif not tensor.is_floating_point() or tensor.layout != strided:
            faults[name] = "holds no floating-point numbers"
    if faults:
        first = min(faults)
        others = f", and {len(faults) - 1} more are wrong" if len(faults) > 1 else ""
        raise CheckpointError(f"{first} {faults[first]}{others}")
