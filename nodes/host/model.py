"""MODEL from a checkpoint: the host's UNet, fed with the channels of Paint by Example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.model_base
import comfy.model_detection
import comfy.model_management as management
import comfy.model_patcher
import comfy.supported_models
import comfy.utils
import torch
from torch import Tensor

from ...exemplar_model.mask import latent_keep_mask
from ...exemplar_model.weights.checkpoint import Checkpoint, read_checkpoint
from ...exemplar_model.weights.reading import CheckpointError
from ...exemplar_model.weights.sizes import UNetConfig
from .attention import use_fused_attention_on_cpu, use_single_token_attention
from .errors import plain_errors
from .files import read_weights
from .precision import WEIGHT_DTYPES, cast_dtype
from .versions import call_supported
from .weights import can_stay_mapped


class ExemplarModel(comfy.model_base.BaseModel):
    """The host's UNet with the channels of Paint by Example.

    Conditioning carries what ComfyUI's InpaintModelConditioning puts there (`concat_latent_image`,
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
        CheckpointError: the host cannot build a UNet of these widths.
    """
    _require_whole_multiples(checkpoint, path.name)
    patcher = _build_patcher(checkpoint, weight_dtype, disable_dynamic)
    use_fused_attention_on_cpu(patcher)
    use_single_token_attention(patcher)
    if hasattr(patcher, "cached_patcher_init"):
        patcher.cached_patcher_init = (_load_model, (path, weight_dtype))
    return patcher


def _load_model(path: Path, weight_dtype: str, disable_dynamic: bool = False) -> Any:
    with plain_errors():
        checkpoint = read_checkpoint(path, read_weights)
        return build_model(checkpoint, weight_dtype, path, disable_dynamic)


def _require_whole_multiples(checkpoint: Checkpoint, name: str) -> None:
    """The host knows the width of a level as a whole multiple of the first."""
    widths = UNetConfig.from_state_dict(checkpoint.unet).channels
    if any(width % widths[0] for width in widths):
        raise CheckpointError(
            f"The UNet of {name} has levels of {', '.join(map(str, widths))} channels, and ComfyUI "
            f"takes only whole multiples of the first; train one with such unet_channels."
        )


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
    call_supported(config.set_inference_dtype, dtype, cast, device=load_device)
    model = config.get_model(checkpoint.unet)
    plain = comfy.model_patcher.ModelPatcher
    patcher_class = getattr(comfy.model_patcher, "CoreModelPatcher", plain)
    patcher_class = plain if disable_dynamic else patcher_class
    patcher = patcher_class(
        model, load_device=load_device, offload_device=management.unet_offload_device()
    )
    if can_stay_mapped(model.diffusion_model, checkpoint.unet, load_device):
        model.diffusion_model.load_state_dict(checkpoint.unet, assign=True)
    else:
        assign = getattr(patcher, "is_dynamic", lambda: False)()
        # the host empties the dictionary that it is given
        call_supported(model.load_model_weights, dict(checkpoint.unet), "", assign=assign)
    return patcher


def require_exemplar_model(model: Any) -> None:
    """Raise ValueError unless the MODEL's channels are those of Paint by Example."""
    if not isinstance(model.model, ExemplarModel):
        raise ValueError(
            "This MODEL was not loaded by Load Exemplar Model and would be fed the wrong "
            "channels; connect the model output of Load Exemplar Model."
        )
