"""The host's nodes that patch a MODEL, on ours: neutral settings change nothing, others do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lab.host.graphs import Graph, Run
from lab.host.headless import Host, HostError

FREE_U = (
    {"b1": 1.0, "b2": 1.0, "s1": 1.0, "s2": 1.0},
    {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
)
TILES = {"swap_size": 1, "max_depth": 0, "scale_depth": False}
SAG = {"blur_sigma": 2.0}

# node → settings that change nothing, settings that do
NODES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "FreeU": FREE_U,
    "FreeU_V2": FREE_U,
    "HyperTile": ({"tile_size": 2048, **TILES}, {"tile_size": 32, **TILES}),
    "TomePatchModel": ({"ratio": 0.0}, {"ratio": 0.5}),
    "PerturbedAttentionGuidance": ({"scale": 0.0}, {"scale": 3.0}),
    "SelfAttentionGuidance": ({"scale": 0.0, **SAG}, {"scale": 2.0, **SAG}),
    "RescaleCFG": ({"multiplier": 0.0}, {"multiplier": 1.0}),
}


class Painting:
    """Graphs that paint two regions with exemplars of their own, and the latents of each."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.loader = self.graph.load("narrow.safetensors")
        exemplars = self.graph.images(["face", "face"])
        self.encode = self.graph.encode(self.loader, exemplars)
        self.image = self.graph.image("odd")
        self.masks = self.graph.masks(["odd_mask", "odd_mask_left"])
        self.saved: dict[str, str] = {}

    def add(self, name: str, *nodes: tuple[str, dict[str, Any]]) -> None:
        """A painting by the MODEL behind these nodes."""
        model = [self.loader, 0]
        for node, settings in nodes:
            model = [self.graph.add(node, model=model, **settings), 0]
        sample = self.graph.sample(self.loader, self.encode, self.image, self.masks, model=model)
        self.saved[name] = self.graph.save_latent([sample, 1])

    def run(self, host: Host) -> dict[str, Tensor]:
        run = Run(host, self.graph)
        return {name: run.latent(node) for name, node in self.saved.items()}


@pytest.fixture(scope="module")
def painted(host: Host) -> dict[str, Tensor]:
    painting = Painting()
    painting.add("plain")
    for node, (neutral, acting) in NODES.items():
        painting.add(f"{node} neutral", (node, neutral))
        painting.add(f"{node} acting", (node, acting))
    return painting.run(host)


def change(one: Tensor, other: Tensor) -> float:
    return float(torch.linalg.norm(one - other) / torch.linalg.norm(other))


@pytest.mark.parametrize("node", NODES)
def test_patch_acts_as_set(painted: dict[str, Tensor], node: str) -> None:
    acting, plain = painted[f"{node} acting"], painted["plain"]
    assert change(painted[f"{node} neutral"], plain) < 1e-5
    for region in range(2):
        assert change(acting[region], plain[region]) > 1e-3
    assert acting.isfinite().all()


def test_guidance_limited_in_time_beside_guidance_by_attention(host: Host) -> None:
    """PAG goes on outside of the interval; SAG reads the half that is left out there."""
    late = ("ExemplarGuidance", {"start": 0.5, "end": 1.0})
    painting = Painting()
    painting.add("late", late)
    painting.add("PAG", ("PerturbedAttentionGuidance", {"scale": 3.0}), late)
    painted = painting.run(host)
    assert change(painted["PAG"], painted["late"]) > 1e-3

    painting = Painting()
    painting.add("SAG", ("SelfAttentionGuidance", {"scale": 2.0, **SAG}), late)
    with pytest.raises(HostError, match="'NoneType' object has no attribute 'shape'"):
        painting.run(host)


def test_differential_diffusion_needs_a_noise_mask(host: Host) -> None:
    """In the stock graph it follows a soft mask; our sampler sets no noise mask."""
    painting = Painting()
    painting.add("plain")
    painting.add("differential", ("DifferentialDiffusion", {"strength": 1.0}))
    ours = painting.run(host)
    assert torch.equal(ours["plain"], ours["differential"])

    def stock(soft: bool, differential: bool) -> Tensor:
        graph = Graph()
        loader = graph.load("narrow.safetensors")
        encode = graph.encode(loader, graph.image("face"))
        mask = graph.masks(["small_mask"])
        if soft:
            image = [graph.add("MaskToImage", mask=mask), 0]
            blur = graph.add("ImageBlur", image=image, blur_radius=12, sigma=6.0)
            mask = [graph.add("ImageToMask", image=[blur, 0], channel="red"), 0]
        masked = graph.masked(loader, encode, graph.image("small"), mask, noise_mask=True)
        model = [loader, 0]
        if differential:
            model = [graph.add("DifferentialDiffusion", model=model, strength=1.0), 0]
        sample = graph.ksampler(loader, masked, [masked, 2], steps=4)
        graph.prompt[sample]["inputs"]["model"] = model
        saved = graph.save_latent([sample, 0])
        return Run(host, graph).latent(saved)

    assert change(stock(soft=True, differential=True), stock(soft=True, differential=False)) > 1e-2
