"""Front ends save black where a mask was painted: at denoise 1 it must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lab.host.graphs import Graph, Run
from lab.host.headless import Host


@pytest.mark.parametrize(("denoise", "same"), [(1.0, True), (0.5, False)])
def test_black_under_the_mask(host: Host, denoise: float, same: bool) -> None:
    """The same latent and the same picture as with the photo under the mask, at denoise 1 alone."""
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.image("face"))
    photo, mask = graph.image("odd"), graph.masks(["odd_mask"])
    black = graph.add("EmptyImage", width=1277, height=719, batch_size=1, color=0)
    erased = graph.add(
        "ImageCompositeMasked",
        destination=photo,
        source=[black, 0],
        x=0,
        y=0,
        resize_source=False,
        mask=mask,
    )
    samples = [
        graph.sample(loader, encode, image, mask, denoise=denoise) for image in (photo, [erased, 0])
    ]
    latents = [graph.save_latent([sample, 1]) for sample in samples]
    pictures = [graph.save_image([sample, 0]) for sample in samples]
    run = Run(host, graph)
    before, after = map(run.latent, latents)
    assert torch.equal(before, after) == same
    photo_painted, black_painted = map(run.pictures, pictures)
    assert np.array_equal(photo_painted, black_painted) == same
