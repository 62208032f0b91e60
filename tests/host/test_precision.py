"""In which type the denoiser computes on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.library import run_in_host_process

EVALUATE = """
import json, torch
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.nodes.host import files, model

if CAPABILITIES is None:
    del torch.cpu.get_capabilities  # as in older versions of PyTorch
else:
    torch.cpu.get_capabilities = lambda: CAPABILITIES
draw = torch.Generator().manual_seed(0)
randn = lambda *shape: torch.randn(shape, generator=draw)
checkpoint = read_checkpoint(path, files.read_weights)
width = checkpoint.encoder_config.context_dim
x, concat, token = randn(2, 4, 8, 8), randn(2, 5, 8, 8), randn(2, 1, width)

def evaluate(weight_dtype):
    denoiser = model.build_model(checkpoint, weight_dtype, path)
    given = []
    denoiser.model.diffusion_model.register_forward_pre_hook(
        lambda module, inputs, keywords: given.extend(
            each.dtype for each in (*inputs, *keywords.values())
            if isinstance(each, torch.Tensor) and each.ndim > 1
        ),
        with_kwargs=True,
    )
    options = denoiser.model_options["transformer_options"]
    with torch.inference_mode():
        result = denoiser.model.apply_model(
            x, torch.ones(2), c_concat=concat, c_crossattn=token, transformer_options=options
        )
    weights = {weight.dtype for weight in denoiser.model.diffusion_model.parameters()}
    return result, [str(dtype) for dtype in given], [str(dtype) for dtype in weights]

expected, _, _ = evaluate("fp32")
result, inputs, weights = evaluate(WEIGHT_DTYPE)
print(json.dumps({
    "inputs": sorted(set(inputs)),
    "weights": weights,
    "result": str(result.dtype),
    "error": float((result - expected).norm() / expected.norm()),
}))
"""
AMX = {"amx_bf16": True, "avx512_bf16": True}


@pytest.mark.parametrize(
    ("weight_dtype", "capabilities", "arguments", "computes_in"),
    [
        ("bf16", AMX, (), "bfloat16"),
        ("bf16", {"avx512_bf16": True}, (), "float32"),
        ("bf16", None, (), "float32"),
        ("bf16", AMX, ("--force-fp32",), "float32"),
        ("fp16", AMX, (), "float32"),
        ("default", AMX, (), "float32"),
    ],
)
def test_a_cpu_computes_in_bf16_where_that_is_chosen_and_fast(
    narrow: Path,
    weight_dtype: str,
    capabilities: dict[str, bool] | None,
    arguments: tuple[str, ...],
    computes_in: str,
) -> None:
    given = f"CAPABILITIES, WEIGHT_DTYPE = {capabilities!r}, {weight_dtype!r}\n"
    found: dict[str, Any] = run_in_host_process(given + EVALUATE, narrow, *arguments)
    types = {"default": "float32", "fp16": "float16", "bf16": "bfloat16"}
    assert found["inputs"] == [f"torch.{computes_in}"]
    assert found["weights"] == [f"torch.{types[weight_dtype]}"]
    assert found["result"] == "torch.float32"
    assert found["error"] < 3e-2
    assert (found["error"] == 0) == (weight_dtype == "default")
