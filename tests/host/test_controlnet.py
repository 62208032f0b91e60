"""ControlNets of the host on our nine-channel MODEL, and those that cannot follow it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.addons import write_control_lora, write_controlnet
from torch import Tensor

from lab.host.graphs import Graph, Link, Run
from lab.host.headless import Host, HostError

# exemplars, masks, hints: one region; regions that share an exemplar and a hint; one of each
CASES = {
    "one region": (["face"], ["odd_mask"], ["odd", "face"]),
    "shared": (["face"], ["odd_mask", "odd_mask_left"], ["odd", "face"]),
    "each its own": (["face", "paw"], ["odd_mask", "odd_mask_left"], ["odd+small", "odd+odd"]),
}


@pytest.fixture(scope="module", autouse=True)
def controlnets(host: Host) -> None:
    """Random weights, as a ControlNet, as a difference from a base model, and a ControlLoRA."""
    model = host.folder / "models" / "exemplar" / "wide.safetensors"
    folder = host.folder / "models" / "controlnet"
    folder.mkdir(exist_ok=True)
    write_controlnet(folder / "random.safetensors", model)
    weights = load_file(folder / "random.safetensors")
    save_file({**weights, "difference": torch.zeros(0)}, folder / "difference.safetensors")
    write_control_lora(folder / "control_lora.safetensors")


class Controlled:
    """A graph in which a ControlNet acts on several paintings."""

    def __init__(self, exemplars: list[str], masks: list[str]) -> None:
        self.graph = Graph()
        self.loader = self.graph.load("wide.safetensors")
        self.encode = self.graph.encode(self.loader, self.graph.images(exemplars))
        self.image, self.masks = self.graph.image("odd"), self.graph.masks(masks)

    def file(self, name: str) -> Link:
        return [self.graph.add("ControlNetLoader", control_net_name=f"{name}.safetensors"), 0]

    def paint(self, control_net: Link | None, hints: str = "odd", strength: float = 1.0) -> str:
        links: dict[str, Any] = {"positive": [self.encode, 0], "negative": [self.encode, 1]}
        if control_net is not None:
            apply = self.graph.add(
                "ControlNetApplyAdvanced",
                **links,
                control_net=control_net,
                image=self.graph.images(hints.split("+")),
                strength=strength,
                start_percent=0.0,
                end_percent=1.0,
            )
            links = {"positive": [apply, 0], "negative": [apply, 1]}
        sample = self.graph.sample(
            self.loader, self.encode, self.image, self.masks, steps=2, **links
        )
        return self.graph.save_latent([sample, 1])


def change(one: Tensor, other: Tensor) -> float:
    return float(torch.linalg.norm(one - other) / torch.linalg.norm(other))


@pytest.mark.parametrize("case", CASES)
def test_stock_controlnet_applies(host: Host, case: str) -> None:
    """At strength 0 it changes nothing, at 1 every region; another hint changes it again."""
    exemplars, masks, (hints, others) = CASES[case]
    graph = Controlled(exemplars, masks)
    network = graph.file("random")
    saved = [
        graph.paint(None),
        graph.paint(network, hints, strength=0.0),
        graph.paint(network, hints),
        graph.paint(network, others),
    ]
    run = Run(host, graph.graph)
    plain, none, full, other = (run.latent(node) for node in saved)
    assert len(plain) == len(masks)
    assert change(none, plain) < 1e-5
    for region in range(len(masks)):
        assert change(full[region], plain[region]) > 1e-3
    assert change(other[-1], full[-1]) > 1e-4
    if case == "each its own":  # only the hint of the second region is another one
        assert change(other[0], full[0]) < 1e-5


def test_a_control_lora_is_refused(host: Host) -> None:
    graph = Controlled(["face"], ["odd_mask"])
    graph.paint(graph.file("control_lora"))
    with pytest.raises(HostError) as refusal:
        Run(host, graph.graph)
    message = str(refusal.value)
    assert message.startswith("A ControlLoRA cannot follow a model of nine channels; use")
    assert message.count(". ") == 0 and "\n" not in message


def test_a_difference_controlnet_does_not_load(host: Host) -> None:
    """The host's own loader fails on it, before anything of ours sees it."""
    graph = Controlled(["face"], ["odd_mask"])
    load = graph.graph.add(
        "DiffControlNetLoader",
        model=[graph.loader, 0],
        control_net_name="difference.safetensors",
    )
    graph.paint([load, 0])
    with pytest.raises(HostError, match=r"\(4\) must match the size of tensor b \(9\)"):
        Run(host, graph.graph)
