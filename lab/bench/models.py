"""Random models of each size, as modules, as files and as the host's objects."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from exemplar_model.encoder import EncoderConfig
from exemplar_model.standalone.components import Components, ModelConfig
from exemplar_model.standalone.convert import convert
from lab.host.library import load_pack

SMALL = ModelConfig(
    unet_channels=(32, 64, 64),
    unet_layers=1,
    autoencoder_channels=(32, 32, 64, 64),
    autoencoder_layers=1,
    encoder=EncoderConfig(64, 9, 1, 128, 224, 32, mapper_blocks=2, context_dim=48),
)
SIZES = {"full": ModelConfig(), "tiny": SMALL}
DTYPE_NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
"""Choice of *Load Exemplar Model* that keeps weights as they are."""
RESOLUTIONS = {"full": 512, "tiny": 64}
"""Pixels of a side at which a model of each size paints."""

LAYOUTS = {
    "original .ckpt": "model.ckpt",
    "safetensors fp32": "model.safetensors",
    "safetensors fp16": "half.safetensors",
    "diffusers folder": "folder",
}
"""Name that `write_layouts` gives the model in each layout."""


def random_components(config: ModelConfig) -> Components:
    """The same weights at every call; the posterior is so narrow that a sample is its mode."""
    torch.manual_seed(0)
    components = Components.random(config)
    quant_conv: Any = components.autoencoder.quant_conv
    with torch.no_grad():
        quant_conv.weight[4:] = 0.0
        quant_conv.bias[4:] = -30.0
    return components


def write_layouts(folder: str, size: str, layouts: list[str]) -> dict[str, str]:
    """Write a random model in some of `LAYOUTS`, all with equal weights; fp32 is always written.

    Returns:
        Name in the folder by layout.

    Raises:
        SystemExit: the disk has no room for them.
    """
    config, target = SIZES[size], Path(folder)
    wanted = list(dict.fromkeys(["safetensors fp32", *layouts]))
    _require_space(target, config, wanted)
    components = random_components(config)
    tensors = {key: tensor.contiguous() for key, tensor in components.to_original().items()}
    source = target / LAYOUTS["safetensors fp32"]
    save_file(tensors, source, metadata=config.hints)
    if "original .ckpt" in wanted:
        torch.save({"state_dict": tensors}, target / LAYOUTS["original .ckpt"])
    if "safetensors fp16" in wanted:
        convert(source, target / LAYOUTS["safetensors fp16"], dtype=torch.float16)
    if "diffusers folder" in wanted:
        convert(source, target / LAYOUTS["diffusers folder"])
    return {layout: LAYOUTS[layout] for layout in wanted}


def _require_space(folder: Path, config: ModelConfig, layouts: list[str]) -> None:
    with torch.device("meta"):
        model = Components.random(config)
    modules = (model.unet, model.autoencoder, model.encoder)
    each = sum(tensor.nbytes for module in modules for tensor in module.state_dict().values())
    needed = sum(each / 2 if "fp16" in layout else each for layout in layouts)
    free = shutil.disk_usage(folder).free
    if free < 1.05 * needed:
        raise SystemExit(
            f"The models to load need {needed / 1e9:.1f} GB in {folder} and its disk has "
            f"{free / 1e9:.1f} GB free; make room, or choose another folder by --output."
        )


Pack = Callable[[str], ModuleType]


def load_host(comfyui: str, cpu: bool = True) -> Pack:
    """The host and this pack in this process; see `lab.host.library.load_pack`."""
    pack = load_pack(Path(comfyui), *(["--cpu"] if cpu else []))
    for module in ("model", "encoder", "autoencoder", "files", "painting"):
        pack(f"nodes.host.{module}")  # importing them is not part of what is measured
    return pack


def load_model(pack: Pack, path: str, weight_dtype: str = "default") -> tuple[Any, Any, Any]:
    """MODEL, encoder and VAE of a file or folder, as *Load Exemplar Model* makes them."""
    host, files = pack("nodes.host.model"), pack("nodes.host.files")
    reading = pack("exemplar_model.weights.checkpoint")
    checkpoint = reading.read_checkpoint(Path(path), files.read_weights)
    return (
        host.build_model(checkpoint, weight_dtype, Path(path)),
        pack("nodes.host.encoder").build_encoder(checkpoint, weight_dtype, path),
        pack("nodes.host.autoencoder").build_autoencoder(checkpoint),
    )


def build_model(pack: Pack, components: Components) -> tuple[Any, Any]:
    """MODEL and VAE of random components, in fp32."""
    config, reading = components.config, pack("exemplar_model.weights.checkpoint")
    host = pack("nodes.host.model")
    checkpoint = reading.split_original(components.to_original(), config.hints)
    model = host.build_model(checkpoint, "fp32", Path("random"))
    return model, pack("nodes.host.autoencoder").build_autoencoder(checkpoint)


def share_weights(
    pack: Pack, tensors: dict[str, torch.Tensor], config: ModelConfig, full_attention: bool
) -> Any:
    """MODEL around UNet tensors of the original layout, which it holds instead of copies.

    Args:
        tensors: names without prefix, all of one dtype.
        full_attention: keep the host's own cross-attention.
    """
    dtype = next(iter(tensors.values())).dtype
    checkpoint = pack("exemplar_model.weights.checkpoint").Checkpoint(
        unet=tensors, autoencoder={}, encoder={}, unet_heads=config.unet_heads
    )
    model = pack("nodes.host.model").build_model(checkpoint, DTYPE_NAMES[dtype], Path("random"))
    if full_attention:
        pack("nodes.host.attention").use_host_attention(model)
    unet: nn.Module = model.model.diffusion_model
    unet.load_state_dict(tensors, assign=True)
    return model
