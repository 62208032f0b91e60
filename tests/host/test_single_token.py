"""The short way to one context token gives what the host's cross-attention gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.library import run_in_host_process

BUILD = """
import json, torch
import comfy.ldm.modules.attention as attention
import comfy.sample
import comfy.sd
import nodes
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.nodes.host import attention as ours, files, model

torch.set_grad_enabled(False)
checkpoint = read_checkpoint(path, files.read_weights)
WIDTH = checkpoint.encoder_config.context_dim
short = model.build_model(checkpoint, "fp32", path)
stock = model.build_model(checkpoint, "fp32", path)
ours.use_host_attention(stock)
draw = torch.Generator().manual_seed(0)
randn = lambda *shape: torch.randn(shape, generator=draw)

def cross_attentions(patcher):
    modules = patcher.model.diffusion_model.named_modules()
    return {name: module for name, module in modules if name.endswith("attn2")}

def distance(a, b):
    return float((a - b).norm() / b.norm())
"""

SAMPLE = """
one, other, null = randn(1, 1, WIDTH), randn(1, 1, WIDTH), randn(1, 1, WIDTH)
noise, concat = randn(1, 4, 8, 8), {"concat_latent_image": randn(1, 4, 8, 8)}
concat["concat_mask"] = torch.ones(1, 1, 64, 64)
left = torch.zeros(1, 64, 64)
left[..., :32] = 1.0

def entry(context):
    return [[context, concat]]

def within(mask, context):
    return nodes.ConditioningSetMask().append(entry(context), mask, "default", 1.0)[0]

def sample(patcher, *positive):
    entries = positive or entry(one)
    return comfy.sample.sample(
        patcher, noise, 2, 5.0, "euler", "normal", list(entries), entry(null),
        torch.zeros(1, 4, 8, 8), seed=0,
    )

def lora(name):
    def apply(patcher):
        key = "down_blocks_0_attentions_0_transformer_blocks_0_attn2_" + name
        weight = dict(patcher.model.diffusion_model.named_parameters())[
            f"input_blocks.1.1.transformer_blocks.0.attn2.{name.replace('_0', '.0')}.weight"
        ]
        draw.manual_seed(1)
        tensors = {
            f"lora_unet_{key}.lora_down.weight": randn(4, weight.shape[1]),
            f"lora_unet_{key}.lora_up.weight": randn(weight.shape[0], 4),
            f"lora_unet_{key}.alpha": torch.tensor(4.0),
        }
        return comfy.sd.load_lora_for_models(patcher, None, tensors, 1.0, 0.0)[0]
    return apply

def override(patcher):
    def twice(function, *arguments, **keywords):
        return 2 * function(*arguments, **keywords)
    patcher.model_options["transformer_options"]["optimized_attention_override"] = twice
    return patcher

def adapter(weight):
    # as IPAdapter does it: attention to tokens of its own, on top of the block's own attention
    def attend(query, context, value, options):
        draw.manual_seed(query.shape[-1])
        pictures = randn(1, 4, query.shape[-1]).expand(len(query), -1, -1)
        own, added = (
            attention.optimized_attention(query, k, v, options["n_heads"])
            for k, v in ((context, value), (pictures, 2 * pictures))
        )
        return own + weight * added
    def apply(patcher):
        for name in cross_attentions(patcher):
            block, number = name.split("_block")[0], name.split(".")[1]
            index = 0 if block == "middle" else int(number)
            patcher.set_model_attn2_replace(attend, block, index)
        return patcher
    return apply

def patch(patcher):
    patcher.set_model_attn2_patch(lambda n, context, value, options: (n, context, 2 * value))
    return patcher

def append(patcher):
    def appended(n, context, value, options):
        return n, torch.cat([context, 0 * context], 1), torch.cat([value, 2 * value], 1)
    patcher.set_model_attn2_patch(appended)
    return patcher

def write(patcher):
    def into_output(n, options):
        n[:, 0] *= 2
        return n
    patcher.set_model_attn2_output_patch(into_output)
    return patcher

plain = lambda patcher: patcher
cases = {
    "one token": (plain,),
    "two tokens": (plain, *entry(torch.cat([one, other], dim=1))),
    "two regions": (plain, *within(left, one), *within(1 - left, other)),
    "LoRA on to_v": (lora("to_v"),),
    "LoRA on to_out": (lora("to_out_0"),),
    "LoRA on to_q": (lora("to_q"),),
    "LoRA on to_k": (lora("to_k"),),
    "override": (override,),
    "IPAdapter at weight 0": (adapter(0.0),),
    "IPAdapter": (adapter(1.0),),
    "patch": (patch,),
    "patch that appends": (append,),
    "patch that writes into the output": (write,),
}
unchanged = sample(stock)
results = {}
for name, (change, *positive) in cases.items():
    expected = sample(change(stock.clone()), *positive)
    results[name] = {
        "error": distance(sample(change(short.clone()), *positive), expected),
        "effect": distance(expected, unchanged),
    }
print(json.dumps(results))
"""

CALLS = """
keys = []
def counted(q, k, *args, original=attention.optimized_attention.__wrapped__, **kwargs):
    keys.append(k.shape[1])
    return original(q, k, *args, **kwargs)
attention.optimized_attention = attention.optimized_attention_masked = attention.wrap_attn(counted)

shorts, stocks = cross_attentions(short), cross_attentions(stock)
run_short, run_stock = (next(iter(each.values())) for each in (shorts, stocks))
own = {"transformer_options": short.model_options["transformer_options"]}
foreign = {"optimized_attention_override": lambda function, *a, **k: function(*a, **k)}
written = {"patches": {"attn2_output_patch": []}}
x = randn(2, 5, run_short.to_q.in_features)
context = lambda batch, tokens: {"context": randn(batch, tokens, WIDTH)}
forwards = {
    "default": context(2, 1) | own,
    "value": context(2, 1) | {"value": randn(2, 1, WIDTH)},
    "two tokens": context(2, 2),
    "two values": context(2, 2) | {"value": randn(2, 2, WIDTH)},
    "other batch": context(4, 1),
    "mask": context(2, 1) | {"mask": torch.zeros(5, 1)},
    "override": context(2, 1) | {"transformer_options": foreign},
    "output patch": context(2, 1) | {"transformer_options": written},
}
attended, errors = {}, {}
for name, inputs in forwards.items():
    keys.clear()
    result = run_short(x, **inputs)
    attended[name] = len(keys)
    errors[name] = distance(result, run_stock(x, **inputs))

def forward(patcher):
    keys.clear()
    output = patcher.model.apply_model(
        torch.ones(1, 4, 8, 8), torch.ones(1),
        c_concat=torch.ones(1, 5, 8, 8), c_crossattn=torch.ones(1, 1, WIDTH),
        transformer_options=patcher.model_options["transformer_options"],
    )
    return output, {"one key": keys.count(1), "more keys": len(keys) - keys.count(1)}

replaced, called = short.clone(), []
replaced.set_model_attn2_replace(
    lambda q, k, v, options: v.expand(-1, q.shape[1], -1), "input", 1
)
hooks = [
    module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
    for name, module in shorts.items()
]
forward(replaced)
for hook in hooks:
    hook.remove()

print(json.dumps({
    "attended": attended,
    "errors": errors,
    "short": forward(short.clone())[1],
    "stock": forward(stock.clone())[1],
    "blocks": list(shorts),
    "called beside a replace patch": called,
    "same keys": list(short.model.state_dict()) == list(stock.model.state_dict()),
}))
"""

COMPILE = """
from comfy_api.torch_helpers import set_torch_compile_wrapper

module = next(iter(cross_attentions(short).values()))
compiled_module = torch.compile(module, backend="eager", fullgraph=True)
compiled = short.clone()
set_torch_compile_wrapper(compiled, backend="eager")
options = short.model_options["transformer_options"]
x = randn(2, 5, module.to_q.in_features)

def forward(patcher):
    return patcher.model.apply_model(
        torch.ones(1, 4, 8, 8), torch.ones(1),
        c_concat=torch.ones(1, 5, 8, 8), c_crossattn=torch.ones(1, 1, WIDTH),
        transformer_options=patcher.model_options["transformer_options"],
    )

results = {"whole model": distance(forward(compiled), forward(short))}
for tokens in (1, 2):
    context = randn(2, tokens, WIDTH)
    result, expected = (
        each(x, context=context, transformer_options=options) for each in (compiled_module, module)
    )
    results[f"{tokens} tokens"] = distance(result, expected)
print(json.dumps(results))
"""

# how much a case changes the sample, at least; None: not at all
EFFECTS = {
    "one token": None,
    "two tokens": 0.1,
    "two regions": 0.1,
    "LoRA on to_v": 0.1,
    "LoRA on to_out": 0.1,
    "LoRA on to_q": None,
    "LoRA on to_k": None,
    "override": 0.1,
    "IPAdapter at weight 0": None,
    "IPAdapter": 0.1,
    "patch": 0.1,
    "patch that appends": 0.1,
    "patch that writes into the output": 0.1,
}


@pytest.fixture(scope="module")
def sampled(narrow: Path) -> dict[str, Any]:
    return run_in_host_process(BUILD + SAMPLE, narrow)


@pytest.fixture(scope="module")
def calls(narrow: Path) -> dict[str, Any]:
    return run_in_host_process(BUILD + CALLS, narrow)


@pytest.mark.parametrize("case", EFFECTS)
def test_samples_equal_the_stock_path(sampled: dict[str, Any], case: str) -> None:
    """And the case does what it is there for: it changes the sample, or must not."""
    assert sampled[case]["error"] < 1e-5  # measured: 1.6e-6
    if EFFECTS[case] is None:
        assert sampled[case]["effect"] < 1e-5
    else:
        assert sampled[case]["effect"] > EFFECTS[case]


def test_no_attention_for_one_token_by_default(calls: dict[str, Any]) -> None:
    """Self-attention remains; `use_host_attention` brings cross-attention back."""
    blocks = len(calls["blocks"])
    assert calls["short"] == {"one key": 0, "more keys": blocks}
    assert calls["stock"] == {"one key": blocks, "more keys": blocks}


def test_host_attention_whenever_there_is_more_to_it(calls: dict[str, Any]) -> None:
    attended = {name for name, count in calls["attended"].items() if count}
    assert attended == calls["attended"].keys() - {"default", "value"}
    assert max(calls["errors"].values()) < 1e-6  # measured: 0


def test_replace_patch_keeps_the_host_from_calling_the_module(calls: dict[str, Any]) -> None:
    assert calls["called beside a replace patch"] == calls["blocks"][1:]


def test_weights_keep_their_names(calls: dict[str, Any]) -> None:
    assert calls["same keys"]


def test_compiles(narrow: Path) -> None:
    """Without a graph break in the module, and as a whole through the host's own wrapper."""
    errors = run_in_host_process(BUILD + COMPILE, narrow)
    assert max(errors.values()) < 1e-6  # measured: 0
