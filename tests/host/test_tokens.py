"""All tokens of CLIP as context, in a running host."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file
from support.models import SHAPES, RandomModel

from lab.host.graphs import Graph, Run
from lab.host.headless import Host, HostError


def test_all_tokens_condition_the_painting(host: Host, models: dict[str, RandomModel]) -> None:
    """Their shape, the null vector at each of them, and another picture than the class token's."""
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    image, mask = graph.image("odd"), graph.masks(["odd_mask"])
    latents = []
    for tokens in ("class token", "all tokens"):
        encode = graph.encode(loader, graph.image("face"), strength=0.97, tokens=tokens)
        latents.append(graph.save_latent([graph.sample(loader, encode, image, mask), 1]))
    saved = graph.add(
        "SaveExemplar",
        positive=[encode, 0],
        negative=[encode, 1],
        view=[encode, 2],
        encoder=[loader, 1],
        filename_prefix="tokens",
    )
    run = Run(host, graph)
    (entry,) = run.outputs[saved]["exemplars"]
    tensors = load_file(host.output(entry))
    shutil.rmtree(host.output(entry).parent)
    config = SHAPES["narrow"].encoder
    patches = (config.image_size // config.patch_size) ** 2
    assert tensors["context"].shape == (1, 1 + patches, config.context_dim)
    null = models["narrow"].components.encoder.uncond_vector
    expected = null.detach().expand(1, 1 + patches, -1)
    torch.testing.assert_close(tensors["uncond_vector"], expected)
    one, all_tokens = (run.latent(each) for each in latents)
    assert all_tokens.isfinite().all()
    assert (one - all_tokens).norm() / one.norm() > 1e-3


def test_unknown_tokens_are_refused(host: Host) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    graph.save_image([graph.encode(loader, graph.image("face"), tokens="some"), 2])
    with pytest.raises(HostError, match="tokens 'some' is not available"):
        host.run(graph.prompt)
