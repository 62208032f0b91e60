"""Host objects from a checkpoint: MODEL, encoder and VAE."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import comfy.controlnet
import comfy.model_base
import comfy.model_detection
import comfy.model_management as management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch
from torch import Tensor

from ...exemplar_model.constants import OFFICIAL_MODEL
from ...exemplar_model.encoder import ExemplarEncoder, Tokens, empty_encoder, load_encoder
from ...exemplar_model.mask import latent_keep_mask
from ...exemplar_model.saved import ModelIdentity, fingerprint
from ...exemplar_model.weights.checkpoint import (
    Checkpoint,
    CheckpointError,
    read_checkpoint,
)
from ...exemplar_model.weights.sizes import AutoencoderConfig
from .attention import use_fused_attention_on_cpu, use_single_token_attention
from .files import read_weights
from .precision import WEIGHT_DTYPES, cast_dtype
from .weights import fit_as_they_are, load_as_they_are

T = TypeVar("T")


def _supported(function: Callable[..., T], *args: Any, **optional: Any) -> T:
    """Call with those optional keywords that this version of the host knows."""
    known = inspect.signature(function).parameters
    return function(*args, **{name: value for name, value in optional.items() if name in known})


class ExemplarModel(comfy.model_base.BaseModel):
    """The host's UNet with the channels of Paint by Example.

    Conditioning carries what stock InpaintModelConditioning puts there (`concat_latent_image`,
    `concat_mask` with 1 = repaint); this model makes of it masked-image latents and keep mask, in
    this order, which is not that of Stable Diffusion inpainting.
    """

    def concat_cond(self, **kwargs: Any) -> Tensor:
        """[B, 5, h, w] to stand behind the noisy latents."""
        noise, device = kwargs["noise"], kwargs["device"]
        latents, mask = kwargs.get("concat_latent_image"), kwargs.get("concat_mask")
        if latents is None or mask is None:
            raise ValueError(
                "The conditioning has no masked image; sample with Exemplar Inpaint Sampler, or "
                "put InpaintModelConditioning before the sampler."
            )
        latents = self.process_latent_in(latents)
        height, width = noise.shape[-2:]
        if latents.shape[-2:] != (height, width):
            _require_same_aspect(latents, noise)
            latents = comfy.utils.common_upscale(latents, width, height, "bilinear", "center")
        keep_mask = latent_keep_mask(mask.reshape(-1, 1, *mask.shape[-2:]), (height, width))
        batch = noise.shape[0]
        return torch.cat(
            [
                _repeat(latents.to(device), batch, "masked images"),
                _repeat(keep_mask.to(latents).to(device), batch, "masks"),
            ],
            dim=1,
        )

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """What the host attaches to each conditioning before it samples."""
        _refuse_control_lora(kwargs.get("control"))
        context = kwargs.get("cross_attn")
        if context is not None:
            batch = kwargs["noise"].shape[0]
            kwargs["cross_attn"] = _repeat(context, batch, "exemplars")
        return super().extra_conds(**kwargs)


def _refuse_control_lora(control: Any) -> None:
    """The host would build it on this UNet's nine channels and feed it four."""
    while control is not None:
        if isinstance(control, comfy.controlnet.ControlLora):
            raise ValueError(
                "A ControlLoRA cannot follow a model of nine channels; use the whole ControlNet "
                "of the same kind, made for Stable Diffusion 1.5."
            )
        control = control.previous_controlnet


def _repeat(tensor: Tensor, batch: int, what: str) -> Tensor:
    """Expand to the batch as a, b, a, b: the order in which the host repeats conditioning."""
    if batch % tensor.shape[0] != 0:
        raise ValueError(
            f"{tensor.shape[0]} {what} do not fit a batch of {batch} latents; give one, or as many "
            "as there are latents."
        )
    return comfy.utils.repeat_to_batch_size(tensor, batch)


def _require_same_aspect(masked: Tensor, noise: Tensor) -> None:
    """The host would cut the masked image to the latent's shape, and the mask elsewhere."""
    (h, w), (height, width) = masked.shape[-2:], noise.shape[-2:]
    if abs(h * width - w * height) > max(h, w, height, width):  # more than rounding to latents
        raise ValueError(
            f"The masked image has {w}x{h} latents and the latent image {width}x{height}, another "
            "shape; give both the same picture, or pictures of one shape."
        )


class ExemplarModelConfig(comfy.supported_models.SD15):
    """Stable Diffusion 1 of any width and depth, as an `ExemplarModel`."""

    def get_model(self, state_dict: Any, prefix: str = "", device: Any = None) -> ExemplarModel:
        return ExemplarModel(self, model_type=self.model_type(state_dict, prefix), device=device)


def build_model(
    checkpoint: Checkpoint, weight_dtype: str, path: Path, disable_dynamic: bool = False
) -> Any:
    """MODEL for the denoiser.

    Args:
        checkpoint: the weights.
        weight_dtype: key of `WEIGHT_DTYPES`.
        path: where the weights come from; newer hosts load a MODEL again from there.
        disable_dynamic: keep to the plain patcher on hosts that have one for dynamic memory.

    Raises:
        CheckpointError: tensors are missing, left over or of another shape.
    """
    with _refusing_incomplete(path.name, "UNet"):
        patcher = _build_patcher(checkpoint, weight_dtype, disable_dynamic)
    use_fused_attention_on_cpu(patcher)
    use_single_token_attention(patcher)
    if hasattr(patcher, "cached_patcher_init"):
        patcher.cached_patcher_init = (_load_model, (path, weight_dtype))
    return patcher


def _load_model(path: Path, weight_dtype: str, disable_dynamic: bool = False) -> Any:
    checkpoint = read_checkpoint(path, read_weights)
    return build_model(checkpoint, weight_dtype, path, disable_dynamic)


def _build_patcher(checkpoint: Checkpoint, weight_dtype: str, disable_dynamic: bool) -> Any:
    config = ExemplarModelConfig(comfy.model_detection.detect_unet_config(checkpoint.unet, ""))
    config.unet_config["num_heads"] = checkpoint.unet_heads
    load_device = management.get_torch_device()
    supported = config.supported_inference_dtypes
    dtype = WEIGHT_DTYPES[weight_dtype] or management.unet_dtype(
        model_params=comfy.utils.calculate_parameters(checkpoint.unet),
        supported_dtypes=supported,
        weight_dtype=comfy.utils.weight_dtype(checkpoint.unet),
    )
    cast = cast_dtype(dtype, load_device, supported)
    _supported(config.set_inference_dtype, dtype, cast, device=load_device)
    model = config.get_model(checkpoint.unet)
    plain = comfy.model_patcher.ModelPatcher
    patcher_class = getattr(comfy.model_patcher, "CoreModelPatcher", plain)
    patcher_class = plain if disable_dynamic else patcher_class
    patcher = patcher_class(
        model, load_device=load_device, offload_device=management.unet_offload_device()
    )
    _require_same_keys(model.diffusion_model.state_dict(), checkpoint.unet)
    if fit_as_they_are(model.diffusion_model, checkpoint.unet, load_device):
        load_as_they_are(model.diffusion_model, checkpoint.unet)
    else:
        assign = getattr(patcher, "is_dynamic", lambda: False)()
        # the host empties the dictionary that it is given
        _supported(model.load_model_weights, dict(checkpoint.unet), "", assign=assign)
    return patcher


def require_exemplar_model(model: Any) -> None:
    """Raise ValueError unless the MODEL's channels are those of Paint by Example."""
    if not isinstance(model.model, ExemplarModel):
        raise ValueError(
            "This MODEL was not loaded by Load Exemplar Model and would be fed the wrong "
            "channels; connect the model output of Load Exemplar Model."
        )


def build_autoencoder(checkpoint: Checkpoint, name: str) -> Any:
    """VAE of any width and depth.

    Raises:
        CheckpointError: tensors are missing, left over or of another shape.
    """
    with _refusing_incomplete(name, "VAE"):
        return _build_autoencoder(checkpoint)


class _WholeRatio(Fraction):
    """A multiplier such as 3/2 of 64 channels; the product is the whole number of channels."""

    def __rmul__(self, channels: Any) -> int:
        return int(super().__rmul__(channels))


def _build_autoencoder(checkpoint: Checkpoint) -> Any:
    config = AutoencoderConfig.from_state_dict(checkpoint.autoencoder)
    ddconfig = {
        "double_z": True,
        "z_channels": config.z_channels,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": config.channels,
        "ch_mult": [_WholeRatio(width, config.channels) for width in config.widths],
        "num_res_blocks": config.residual_blocks,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    params = {"ddconfig": ddconfig, "embed_dim": config.embed_dim}
    vae: Any = comfy.sd.VAE(sd=dict(checkpoint.autoencoder), config={"params": params})
    vae.downscale_ratio = vae.upscale_ratio = config.factor
    _require_same_keys(vae.first_stage_model.state_dict(), checkpoint.autoencoder)
    if fit_as_they_are(vae.first_stage_model, checkpoint.autoencoder, vae.device):
        load_as_they_are(vae.first_stage_model, checkpoint.autoencoder)
    return vae


@contextmanager
def _refusing_incomplete(name: str, part: str) -> Iterator[None]:
    """What building on wrong weights raises, as one sentence; lack of memory passes through."""
    try:
        yield
    except management.OOM_EXCEPTION:
        raise
    except (LookupError, ArithmeticError, NameError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"The {part} of {name} is incomplete or of another kind ({reason}); choose "
            f"{OFFICIAL_MODEL}."
        ) from error


def _require_same_keys(expected: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """The host itself only logs missing tensors and paints with whatever memory held."""
    missing, unexpected = expected.keys() - given.keys(), given.keys() - expected.keys()
    if missing or unexpected:
        raise LookupError(
            f"{len(missing)} tensors missing and {len(unexpected)} left over, such as "
            f"{min(missing or unexpected)}"
        )


class HostEncoder:
    """An `ExemplarEncoder` under the host's memory management; the EXEMPLAR_ENCODER socket."""

    def __init__(self, encoder: ExemplarEncoder, identity: ModelIdentity) -> None:
        self.identity = identity
        self.image_size = encoder.config.image_size
        self.context_dim = encoder.config.context_dim
        self.patcher = comfy.model_patcher.ModelPatcher(
            encoder,
            load_device=management.text_encoder_device(),
            offload_device=management.text_encoder_offload_device(),
        )

    def encode(self, view: Tensor, tokens: Tokens = "class token") -> tuple[Tensor, Tensor]:
        """Context [B, T, D] of views [B, S, S, 3] in [0, 1], and the null condition [1, T, D].

        The null condition of several tokens is the null vector at each of them.
        """
        # the host cannot stream transformers' modules weight by weight, so never load a part
        _supported(management.load_models_gpu, [self.patcher], force_full_load=True)
        encoder: ExemplarEncoder = self.patcher.model
        pixels = view.permute(0, 3, 1, 2).to(self.patcher.load_device)  # BHWC -> BCHW
        home = management.intermediate_device()
        context = encoder(pixels, tokens).float().to(home)
        null = encoder.uncond_vector.detach().float().to(home)
        return context, null.repeat(1, context.shape[1], 1)


def build_encoder(checkpoint: Checkpoint, weight_dtype: str, name: str) -> HostEncoder:
    """Encoder for Encode Exemplar.

    It runs once for an exemplar. On a CPU it keeps fp32, in which a CPU computes; fp8 becomes
    fp16, the smallest type it can compute in.

    Raises:
        CheckpointError: tensors are missing, left over or of another shape.
    """
    device = management.text_encoder_device()
    dtype = WEIGHT_DTYPES[weight_dtype] or management.text_encoder_dtype(device)
    if management.is_device_cpu(device):
        dtype = torch.float32
    elif dtype.itemsize == 1:
        dtype = torch.float16
    with _refusing_incomplete(name, "exemplar encoder"):
        encoder = empty_encoder(checkpoint.encoder_config, dtype)
        stored = {tensor.dtype for tensor in checkpoint.encoder.values()}
        as_they_are = management.is_device_cpu(device) and stored == {dtype}
        load_encoder(encoder, checkpoint.encoder, assign=as_they_are)
    identity = ModelIdentity(name, fingerprint(checkpoint.encoder))
    return HostEncoder(encoder.eval().requires_grad_(False), identity)
