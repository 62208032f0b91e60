"""One guided step: the denoiser on a batch of two, in this pack, the stock host and diffusers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from exemplar_model.constants import UNET_CHANNELS
from exemplar_model.standalone.components import new_unet
from exemplar_model.weights.key_maps import unet_from_diffusers

from .measure import about, alternate, count_flops, device, relative_distance
from .models import RESOLUTIONS, SIZES, load_host, share_weights

MATMUL_SIDES = {"full": 4096, "tiny": 256}
OURS, STOCK, PYTORCH, DIFFUSERS = "ours", "stock host", "stock host, PyTorch attention", "diffusers"
OURS_BF16 = "ours, bf16"
"""Only on CPUs that multiply bf16."""
MATMUL = "matrix product"


@torch.inference_mode()
def measure(comfyui: str, size: str, rounds: int) -> dict[str, Any]:
    """Seconds of each contestant and of a large matrix product, by round.

    All contestants get the same inputs, and all but the one in bf16 hold the same tensors in
    memory. A first call of each, which is not timed, gives the outputs that are compared.

    Returns:
        `contestants`: by name `seconds`, `flops` of a call, and `difference`, the relative L2
        distance of its output to that of diffusers; `matmul`: `seconds` and `flops` alike;
        `dtype`; `about` the machine.
    """
    on = device()
    dtype = torch.float16 if on.type == "cuda" else torch.float32
    pack = load_host(comfyui, cpu=on.type == "cpu")
    config = SIZES[size]
    torch.manual_seed(0)
    reference: Any = new_unet(config).eval()
    if on.type == "cuda":
        reference.to(on, dtype)
    tensors = unet_from_diffusers(reference.state_dict())
    ours = share_weights(pack, tensors, config, full_attention=False)
    stock = share_weights(pack, tensors, config, full_attention=True)

    side = RESOLUTIONS[size] // config.factor
    unet_input = torch.randn(2, UNET_CHANNELS, side, side).to(on, dtype)
    timesteps = torch.full((2,), 500, device=on)
    context = torch.randn(2, 1, config.encoder.context_dim).to(on, dtype)

    def of_host(model: Any, options: dict[str, Any]) -> Callable[[], Tensor]:
        unet = model.model.diffusion_model
        inputs = unet_input.to(unet.dtype), timesteps, context.to(unet.dtype)
        # the host writes into the options
        return lambda: unet(*inputs, transformer_options=dict(options))

    own_options = ours.model_options.get("transformer_options", {})
    contestants: dict[str, Callable[[], Tensor]] = {
        OURS: of_host(ours, own_options),
        STOCK: of_host(stock, {}),
        PYTORCH: of_host(stock, {"optimized_attention_override": _pytorch_attention}),
        DIFFUSERS: lambda: reference(unet_input, timesteps, context, return_dict=False)[0],
    }
    if on.type == "cpu" and pack("nodes.host.precision").multiplies_bf16():
        halves = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
        contestants[OURS_BF16] = of_host(
            share_weights(pack, halves, config, full_attention=False), own_options
        )
    matrix = torch.randn(2, MATMUL_SIDES[size], MATMUL_SIDES[size]).to(on, dtype)
    functions = {**contestants, MATMUL: lambda: torch.mm(matrix[0], matrix[1])}
    outputs = {name: function() for name, function in functions.items()}
    seconds = alternate(functions, rounds, on)

    full = count_flops(reference, unet_input, timesteps, context, return_dict=False)
    short = count_flops(
        ours.model.diffusion_model,
        unet_input,
        timesteps,
        context,
        transformer_options=dict(own_options),
    )
    return {
        "contestants": {
            name: {
                "seconds": seconds[name],
                "flops": short if name in (OURS, OURS_BF16) else full,
                "difference": relative_distance(outputs[name], outputs[DIFFUSERS]),
            }
            for name in contestants
        },
        "matmul": {"seconds": seconds[MATMUL], "flops": 2 * MATMUL_SIDES[size] ** 3},
        "dtype": str(dtype).removeprefix("torch."),
        "about": about(),
    }


def _pytorch_attention(
    replaced: Any, q: Tensor, k: Tensor, v: Tensor, heads: int, *_: Any, **__: Any
) -> Tensor:
    """PyTorch's fused attention of q, k, v [B, N, heads·C] in place of the host's."""
    q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
