"""Which attention our MODEL uses on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.library import run_in_host_process

COUNT = """
import json, torch
import comfy.ldm.modules.attention as attention
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.nodes.host import files, model

calls = {"fused": 0, "sub_quadratic": 0}
for name, label in (("attention_pytorch", "fused"), ("attention_sub_quad", "sub_quadratic")):
    def counted(*args, original=getattr(attention, name).__wrapped__, label=label, **kwargs):
        calls[label] += 1
        return original(*args, **kwargs)
    wrapped = attention.wrap_attn(counted)
    if attention.optimized_attention is getattr(attention, name):
        attention.optimized_attention = attention.optimized_attention_masked = wrapped
    setattr(attention, name, wrapped)

with torch.inference_mode():
    denoiser = model.build_model(read_checkpoint(path, files.read_weights), "default", path)
    width = denoiser.model.model_config.unet_config["context_dim"]
    denoiser.model.apply_model(
        torch.zeros(1, 4, 8, 8),
        torch.ones(1),
        c_concat=torch.zeros(1, 5, 8, 8),
        c_crossattn=torch.zeros(1, 1, width),
        transformer_options=denoiser.model_options["transformer_options"],
    )
print(json.dumps(calls))
"""


@pytest.mark.parametrize(
    ("argument", "used", "unused"),
    [
        ((), "fused", "sub_quadratic"),
        (("--use-quad-cross-attention",), "sub_quadratic", "fused"),
        (("--use-pytorch-cross-attention",), "fused", "sub_quadratic"),
    ],
)
def test_attention_on_cpu(
    narrow: Path,
    argument: tuple[str, ...],
    used: str,
    unused: str,
) -> None:
    """Fused by default; what the user chose on the command line stands."""
    calls = run_in_host_process(COUNT, narrow, *argument)
    assert calls[used] > 0 and calls[unused] == 0
