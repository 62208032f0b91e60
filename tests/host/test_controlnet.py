"""A ControlNet of the host on our nine-channel MODEL."""

from __future__ import annotations

from pathlib import Path

import torch
from support.graphs import Graph, Run
from support.library import run_in_host_process

from demo.headless import Host

WRITE_CONTROLNET = """
import json, torch
import comfy.cldm.cldm, comfy.model_detection
from safetensors.torch import load_file, save_file

prefix, stem = "model.diffusion_model.", "input_blocks.0.0.weight"
tensors = load_file(path)
unet = {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}
unet[stem] = unet[stem][:, :4]
config = comfy.model_detection.detect_unet_config(unet, "")
config.pop("out_channels")
network = comfy.cldm.cldm.ControlNet(**config, hint_channels=3, num_heads=8)
torch.manual_seed(0)
for name, parameter in network.named_parameters():
    if name.startswith("input_hint_block") and parameter.ndim > 1:
        torch.nn.init.kaiming_normal_(parameter)  # else little of the hint comes through
    else:
        torch.nn.init.normal_(parameter, std=0.03)
state = {f"control_model.{k}": v.contiguous() for k, v in network.state_dict().items()}
target = path.parents[1] / "controlnet" / "random.safetensors"
target.parent.mkdir(exist_ok=True)
save_file(state, target)
print(json.dumps(len(state)))
"""


def test_stock_controlnet_applies(host: Host) -> None:
    """At strength 0 it changes nothing, at 1 it does, and another hint changes it again."""
    model: Path = host.folder / "models" / "exemplar" / "wide.safetensors"
    assert run_in_host_process(WRITE_CONTROLNET, model) > 100

    def latent(strength: float | None, hint: str = "odd") -> torch.Tensor:
        graph = Graph()
        loader = graph.load("wide.safetensors")
        encode = graph.encode(loader, graph.image("face"))
        links = {"positive": [encode, 0], "negative": [encode, 1]}
        if strength is not None:
            control = graph.add("ControlNetLoader", control_net_name="random.safetensors")
            apply = graph.add(
                "ControlNetApplyAdvanced",
                **links,
                control_net=[control, 0],
                image=graph.image(hint),
                strength=strength,
                start_percent=0.0,
                end_percent=1.0,
            )
            links = {"positive": [apply, 0], "negative": [apply, 1]}
        image, mask = graph.image("odd"), graph.masks(["odd_mask"])
        sample = graph.sample(loader, encode, image, mask, **links)
        saved = graph.save_latent([sample, 1])
        return Run(host, graph).latent(saved)

    plain, none, full, other = latent(None), latent(0.0), latent(1.0), latent(1.0, "face")
    torch.testing.assert_close(none, plain, rtol=1e-5, atol=1e-4)
    assert float((full - plain).norm() / plain.norm()) > 1e-3
    assert float((other - full).norm() / plain.norm()) > 1e-4
