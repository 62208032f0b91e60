"""Names of tensors in diffusers folders and in the original checkpoint, mapped to each other.

The original layout is what the rest of the package works with: the UNet as in
`model.diffusion_model.*`, the autoencoder as in `first_stage_model.*`, the encoder as
`ExemplarEncoder` names it. Maps are built from the keys themselves, for any width and depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from .reading import StateDict

_UNET_RESNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}
_UNET_STEM = {
    "conv_in.": "input_blocks.0.0.",
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "mid_block.attentions.0.": "middle_block.1.",
}
_AUTOENCODER_ATTENTION = {  # new and old diffusers names
    "group_norm.": "norm.",
    "to_q.": "q.",
    "to_k.": "k.",
    "to_v.": "v.",
    "to_out.0.": "proj_out.",
    "query.": "q.",
    "key.": "k.",
    "value.": "v.",
    "proj_attn.": "proj_out.",
}
_MAPPER_BLOCK = {
    "norm1.": "ln_1.",
    "norm3.": "ln_2.",
    "attn1.to_out.0.": "attn.c_proj.",
    "ff.net.0.proj.": "mlp.c_fc.",
    "ff.net.2.": "mlp.c_proj.",
}


def original_name(key: str, names: Mapping[str, str]) -> str:
    """Name of a tensor by its longest known prefix.

    Raises:
        ValueError: no prefix is known.
    """
    prefix = max((prefix for prefix in names if key.startswith(prefix)), key=len, default=None)
    if prefix is None:
        raise ValueError(f"tensor of unknown use: {key}")
    return names[prefix] + key.removeprefix(prefix)


def _rename(state_dict: Mapping[str, Tensor], names: Mapping[str, str]) -> StateDict:
    """Rename every tensor; no two may get the same name."""
    renamed = {original_name(key, names): tensor for key, tensor in state_dict.items()}
    if len(renamed) != len(state_dict):
        raise ValueError("two tensors of the same meaning")
    return renamed


def _resnets_per_level(keys: Iterable[str], blocks: str) -> list[int]:
    """Number of residual blocks in `<blocks>.<level>.resnets.<index>`, by level."""
    found = {
        m.groups() for key in keys if (m := re.match(rf"{blocks}\.(\d+)\.resnets\.(\d+)", key))
    }
    levels = len({level for level, _ in found})  # a gap leaves tensors of unknown use
    return [sum(int(level) == i for level, _ in found) for i in range(levels)]


def unet_names(keys: Iterable[str]) -> dict[str, str]:
    """Prefixes of a diffusers UNet → prefixes of the original UNet, both ending in a dot."""
    keys = list(keys)
    names = dict(_UNET_STEM)

    def resnet(ours: str, theirs: str) -> None:
        names.update({ours + a: theirs + b for a, b in _UNET_RESNET.items()})

    for index in (0, 1):
        resnet(f"mid_block.resnets.{index}.", f"middle_block.{2 * index}.")
    down = _resnets_per_level(keys, "down_blocks")
    block = 1
    for level, count in enumerate(down):
        for index in range(count):
            resnet(f"down_blocks.{level}.resnets.{index}.", f"input_blocks.{block}.0.")
            names[f"down_blocks.{level}.attentions.{index}."] = f"input_blocks.{block}.1."
            block += 1
        if level + 1 < len(down):
            names[f"down_blocks.{level}.downsamplers.0.conv."] = f"input_blocks.{block}.0.op."
            block += 1
    block = 0
    for level, count in enumerate(_resnets_per_level(keys, "up_blocks")):
        attends = any(key.startswith(f"up_blocks.{level}.attentions.") for key in keys)
        for index in range(count):
            resnet(f"up_blocks.{level}.resnets.{index}.", f"output_blocks.{block}.0.")
            names[f"up_blocks.{level}.attentions.{index}."] = f"output_blocks.{block}.1."
            block += 1
        upsampler = f"output_blocks.{block - 1}.{2 if attends else 1}.conv."
        names[f"up_blocks.{level}.upsamplers.0.conv."] = upsampler
    return names


def autoencoder_names(keys: Iterable[str]) -> dict[str, str]:
    """Prefixes of a diffusers `AutoencoderKL` → prefixes of the original one."""
    keys = list(keys)
    names = {
        f"{side}.{ours}.": f"{side}.{theirs}."
        for side in ("encoder", "decoder")
        for ours, theirs in (
            ("conv_in", "conv_in"),
            ("conv_norm_out", "norm_out"),
            ("conv_out", "conv_out"),
            ("mid_block.resnets.0", "mid.block_1"),
            ("mid_block.resnets.1", "mid.block_2"),
        )
    }
    names |= {"quant_conv.": "quant_conv.", "post_quant_conv.": "post_quant_conv."}
    for side in ("encoder", "decoder"):
        for ours, theirs in _AUTOENCODER_ATTENTION.items():
            names[f"{side}.mid_block.attentions.0.{ours}"] = f"{side}.mid.attn_1.{theirs}"

    down = _resnets_per_level(keys, r"encoder\.down_blocks")
    for level, count in enumerate(down):
        for index in range(count):
            names[f"encoder.down_blocks.{level}.resnets.{index}."] = (
                f"encoder.down.{level}.block.{index}."
            )
        names[f"encoder.down_blocks.{level}.downsamplers.0."] = f"encoder.down.{level}.downsample."
    up = _resnets_per_level(keys, r"decoder\.up_blocks")
    for level, count in enumerate(up):
        mirrored = len(up) - 1 - level
        for index in range(count):
            names[f"decoder.up_blocks.{level}.resnets.{index}."] = (
                f"decoder.up.{mirrored}.block.{index}."
            )
        names[f"decoder.up_blocks.{level}.upsamplers.0."] = f"decoder.up.{mirrored}.upsample."

    resnets = [(ours, theirs) for ours, theirs in names.items() if ".resnets." in ours]
    names |= {f"{ours}conv_shortcut.": f"{theirs}nin_shortcut." for ours, theirs in resnets}
    return names


def unet_from_diffusers(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Original names for the tensors of a diffusers `UNet2DConditionModel`."""
    return _rename(state_dict, unet_names(state_dict))


def autoencoder_from_diffusers(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Original names and shapes for the tensors of a diffusers `AutoencoderKL`.

    The original attends with 1×1 convolutions, diffusers with linear layers.
    """
    renamed = _rename(state_dict, autoencoder_names(state_dict))
    return {
        key: tensor[:, :, None, None] if ".attn_1." in key and tensor.ndim == 2 else tensor
        for key, tensor in renamed.items()
    }


def original_to_diffusers(
    original: Mapping[str, Tensor],
    module: Mapping[str, Tensor],
    names: Callable[[Mapping[str, Tensor]], Mapping[str, str]],
) -> StateDict:
    """Names and shapes of a module of diffusers for the tensors of the original UNet or VAE.

    Args:
        original: names without their prefix.
        module: state of the module, which gives names and shapes; may be without data.
        names: `unet_names` or `autoencoder_names`.

    Raises:
        ValueError: a tensor is missing, left over or of another shape.
    """
    prefixes = names(module)
    sources = {key: original_name(key, prefixes) for key in module}
    if missing := set(sources.values()) ^ original.keys():
        raise ValueError(
            f"{len(missing)} tensors are missing or left over, such as {min(missing)}."
        )
    for key, name in sources.items():
        given, wanted = original[name].shape, module[key].shape
        # 1×1 convolutions of the original are linear layers in diffusers
        if given not in (wanted, (*wanted, 1, 1)):
            raise ValueError(f"{name} has shape {list(given)} in place of {list(wanted)}.")
    return {key: original[name].view(module[key].shape) for key, name in sources.items()}


def encoder_from_diffusers(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Names of `Checkpoint.encoder` for a diffusers `PaintByExampleImageEncoder`.

    Accepts the tower as `model.vision_model.*` (transformers before 5) and as `model.*`. The
    mapper's separate q, k, v become one fused projection; it has one head, so they simply stack.
    """
    names = {
        "model.vision_model.": "clip_vision.",
        "model.": "clip_vision.",
        "final_layer_norm.": "final_ln.",
        "proj_out.": "proj_out.",
        "uncond_vector": "uncond_vector",
    }
    plain: StateDict = {}
    fused: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state_dict.items():
        if key.endswith(".position_ids"):
            continue
        block = re.match(r"mapper\.blocks\.(\d+)\.(.+)", key)
        if block is None:
            plain[key] = tensor
            continue
        index, rest = block.groups()
        names |= {
            f"mapper.blocks.{index}.{ours}": f"mapper.resblocks.{index}.{theirs}"
            for ours, theirs in _MAPPER_BLOCK.items()
        }
        attention = re.fullmatch(r"attn1\.to_([qkv])\.(weight|bias)", rest)
        if attention is None:
            plain[key] = tensor
        else:
            target = f"mapper.resblocks.{index}.attn.c_qkv.{attention[2]}"
            fused.setdefault(target, {})[attention[1]] = tensor
    renamed = _rename(plain, names)
    for key, qkv in fused.items():
        if len(qkv) != 3 or len({tensor.shape for tensor in qkv.values()}) != 1:
            raise ValueError(f"{key} needs to_q, to_k and to_v, all of one shape")
        renamed[key] = torch.cat([qkv["q"], qkv["k"], qkv["v"]])
    return renamed


def encoder_to_diffusers(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Names of a diffusers `PaintByExampleImageEncoder` for `ExemplarEncoder` tensors.

    The tower gets the names that the published folder has, which every transformers reads.
    """
    names = {
        "clip_vision.": "model.vision_model.",
        "final_ln.": "final_layer_norm.",
        "proj_out.": "proj_out.",
        "uncond_vector": "uncond_vector",
    }
    plain: StateDict = {}
    split: StateDict = {}
    for key, tensor in state_dict.items():
        block = re.match(r"mapper\.resblocks\.(\d+)\.(.+)", key)
        if block is None:
            plain[key] = tensor
            continue
        index, rest = block.groups()
        names |= {
            f"mapper.resblocks.{index}.{ours}": f"mapper.blocks.{index}.{theirs}"
            for theirs, ours in _MAPPER_BLOCK.items()
        }
        if rest.startswith("attn.c_qkv."):
            kind = rest.removeprefix("attn.c_qkv.")
            for letter, chunk in zip("qkv", tensor.chunk(3), strict=True):
                split[f"mapper.blocks.{index}.attn1.to_{letter}.{kind}"] = chunk
        else:
            plain[key] = tensor
    return {**_rename(plain, names), **split}


ENCODER_ORIGINAL = {
    "cond_stage_model.transformer.vision_model.": "clip_vision.",
    "cond_stage_model.transformer.": "clip_vision.",
    "cond_stage_model.mapper.": "mapper.",
    "cond_stage_model.final_ln.": "final_ln.",
    "proj_out.": "proj_out.",
    "learnable_vector": "uncond_vector",
}
"""Prefixes of the original checkpoint → prefixes of `ExemplarEncoder`."""


def encoder_to_original(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Names of the original checkpoint for the tensors of an `ExemplarEncoder`."""
    names = {
        "clip_vision.vision_model.": "cond_stage_model.transformer.vision_model.",
        "clip_vision.": "cond_stage_model.transformer.vision_model.",
        "mapper.": "cond_stage_model.mapper.",
        "final_ln.": "cond_stage_model.final_ln.",
        "proj_out.": "proj_out.",
        "uncond_vector": "learnable_vector",
    }
    return _rename(state_dict, names)
