"""A whole painting by stage, in this pack and in diffusers' pipeline, each in its own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
from diffusers.pipelines.deprecated.paint_by_example.pipeline_paint_by_example import (
    PaintByExamplePipeline,
)
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from torch import Tensor

from exemplar_model.constants import CLIP_MEAN, CLIP_STD, LATENT_CHANNELS
from exemplar_model.exemplar import exemplar_view
from exemplar_model.region import find_regions

from .measure import AnonymousPeak, Stages, about, device, peak_resident_bytes
from .models import LAYOUTS, RESOLUTIONS, SIZES, load_host, load_model

SEED, CFG, FEATHER = 0, 5.0, 0
LOAD, EXEMPLAR, ENCODE = "load", "encode exemplar", "VAE encode"
UNET, SAMPLER, DECODE, PASTE = "UNet", "rest of sampling", "VAE decode", "crop and paste"
NAMES = (LOAD, EXEMPLAR, ENCODE, UNET, SAMPLER, DECODE, PASTE)
"""Stages in order; the UNet's is called once an evaluation of a guided step."""
WHOLE = "whole call"


def inputs(size: str) -> tuple[Tensor, Tensor, Tensor]:
    """Picture [1, H, W, 3] in [0, 1], mask [1, H, W] on the latent grid, exemplar [h, w, 3]."""
    side = RESOLUTIONS[size]
    draw = torch.Generator().manual_seed(SEED)
    mask = torch.zeros(1, side, side)
    mask[:, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 1.0
    view = SIZES[size].encoder.image_size
    image, exemplar = (torch.rand(n, n, 3, generator=draw) for n in (side, view))
    return image[None], mask, exemplar


@torch.inference_mode()
def ours(comfyui: str, size: str, steps: int, folder: str, weight_dtype: str) -> dict[str, Any]:
    """The nodes' way: load, encode, find the region, paint it, paste it back."""
    on = device()
    pack = load_host(comfyui, cpu=on.type == "cpu")
    host_painting: Any = pack("nodes.host.painting")
    image, mask, exemplar = inputs(size)
    with AnonymousPeak() as memory:
        path = str(Path(folder) / LAYOUTS["safetensors fp32"])
        stages = Stages(on)
        model, encoder, vae = stages.run(LOAD, load_model, pack, path, weight_dtype)
        methods: dict[str, tuple[Any, str]] = {
            EXEMPLAR: (encoder, "encode"),
            ENCODE: (vae, "encode"),
            UNET: (model.model.diffusion_model, "forward"),
            DECODE: (vae, "decode"),
        }

        def painting(stages: Stages) -> Tensor:
            with stages.watching(**methods):
                token, null = encoder.encode(exemplar_view(exemplar, encoder.image_size)[None])
                regions, crops = stages.run(PASTE, _crop, image, mask, vae, size)
                _, painted = stages.run(
                    WHOLE,
                    host_painting.paint_regions,
                    model,
                    [[token, {}]],
                    [[null, {}]],
                    vae,
                    *crops,
                    seed=SEED,
                    steps=steps,
                    cfg=CFG,
                    sampler_name="plms",
                    scheduler="ddim_uniform",
                    denoise=1.0,
                )
                stages.run(PASTE, regions.paste, painted, FEATHER, True)
            return painted

        painted = _last(painting, stages)
    return _result(stages, memory, (ENCODE, UNET, DECODE), painted, folder, "ours")


def _crop(image: Tensor, mask: Tensor, vae: Any, size: str) -> tuple[Any, tuple[Tensor, Tensor]]:
    regions = find_regions(
        image,
        mask,
        resolution=RESOLUTIONS[size],
        multiple=vae.spacial_compression_encode(),
        context=None,
        feather_pixels=FEATHER,
    )
    return regions, regions.crop()


@torch.inference_mode()
def diffusers(size: str, steps: int, folder: str) -> dict[str, Any]:
    """The pipeline, with the noise and the exemplar's view that ours gets."""
    on = device()
    config = SIZES[size]
    image, mask, exemplar = inputs(size)
    side = RESOLUTIONS[size] // config.factor
    draw = torch.Generator().manual_seed(SEED)
    noise = torch.randn(1, LATENT_CHANNELS, side, side, generator=draw)
    with AnonymousPeak() as memory:
        stages = Stages(on)
        pipeline: Any = stages.run(LOAD, _load_pipeline, folder, on)
        methods: dict[str, tuple[Any, str]] = {
            EXEMPLAR: (pipeline.image_encoder, "forward"),
            ENCODE: (pipeline.vae, "encode"),
            UNET: (pipeline.unet, "forward"),
            DECODE: (pipeline.vae, "decode"),
        }
        view = exemplar_view(exemplar, config.encoder.image_size)
        pixels = ((view - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)).permute(2, 0, 1)

        def painting(stages: Stages) -> Tensor:
            with stages.watching(**methods):
                return stages.run(
                    WHOLE,
                    pipeline,
                    example_image=pixels[None],
                    image=image.permute(0, 3, 1, 2) * 2 - 1,  # BHWC -> BCHW
                    mask_image=mask[:, None],
                    num_inference_steps=steps,
                    guidance_scale=CFG,
                    latents=noise.to(pipeline.unet.dtype),
                    output_type="pt",
                ).images

        painted = _last(painting, stages)
    region = painted.permute(0, 2, 3, 1)  # BCHW -> BHWC
    return _result(stages, memory, (EXEMPLAR, ENCODE, UNET, DECODE), region, folder, "diffusers")


def _load_pipeline(folder: str, on: torch.device) -> Any:
    path = Path(folder) / LAYOUTS["diffusers folder"]
    dtype: Any = torch.float16 if on.type == "cuda" else torch.float32
    components: dict[str, Any] = {  # diffusers annotates optional ones as required
        "vae": AutoencoderKL.from_pretrained(path / "vae", torch_dtype=dtype),
        "image_encoder": PaintByExampleImageEncoder.from_pretrained(
            path / "image_encoder", torch_dtype=dtype
        ),
        "unet": UNet2DConditionModel.from_pretrained(path / "unet", torch_dtype=dtype),
        "scheduler": PNDMScheduler.from_pretrained(path / "scheduler"),
        "safety_checker": None,
        "feature_extractor": None,
    }
    return PaintByExamplePipeline(**components).to(on)


def _last(painting: Callable[[Stages], Tensor], stages: Stages) -> Tensor:
    """On CUDA a first painting, which does not count, moves weights and chooses kernels."""
    if stages.on.type == "cuda":
        painting(Stages(stages.on))
    return painting(stages)


def _result(
    stages: Stages,
    memory: AnonymousPeak,
    inside: tuple[str, ...],
    painted: Tensor,
    folder: str,
    name: str,
) -> dict[str, Any]:
    """`seconds` and `calls` by stage, and peaks in bytes; keeps the picture for comparison."""
    picture = Path(folder) / f"{name}.npy"
    np.save(picture, painted.float().cpu().numpy())
    seconds, calls = dict(stages.seconds), dict(stages.calls)
    seconds[SAMPLER] = seconds.pop(WHOLE) - sum(seconds[each] for each in inside)
    calls.pop(WHOLE)
    on_cuda = stages.on.type == "cuda"
    return {
        "seconds": {each: seconds[each] for each in NAMES if each in seconds},
        "calls": calls,
        "anonymous": memory.peak,
        "resident": peak_resident_bytes(),
        "gpu": torch.cuda.max_memory_allocated() if on_cuda else None,
        "picture": str(picture),
        "about": about(),
    }
