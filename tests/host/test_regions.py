"""Regions painted in one batch are what separate runs paint, each from its own part of the noise.

The separate runs go through the host's own nodes. `LatentFromBatch` marks a latent as the k-th of a
batch, and the host then draws for it the k-th noise of the seed.
"""

from __future__ import annotations

import numpy as np
import pytest

from lab.host.graphs import Graph, Link, Run
from lab.host.headless import Host

MASKS = ["odd_mask_left", "odd_mask", "odd_mask_overlapping", "odd_mask_border"]
EXEMPLARS = ["face", "paw", "small", "small_flipped"]
STEPS, SEED = 3, 3
Pictures = np.ndarray


def separate_run(
    graph: Graph, loader: str, image: Link, view: Link, mask: Link, noise: int
) -> tuple[str, str]:
    """One region by stock nodes between crop and paste; ids of what saves picture and weight."""
    encode = graph.encode(loader, view)
    crop = graph.crop(image, mask)
    masked = graph.masked(loader, encode, [crop, 0], [crop, 1])
    batch = graph.add("RepeatLatentBatch", samples=[masked, 2], amount=len(MASKS))
    latent = graph.add("LatentFromBatch", samples=[batch, 0], batch_index=noise, length=1)
    sampled = graph.reference(loader, masked, [latent, 0], steps=STEPS, seed=SEED)
    decoded = graph.add("VAEDecode", samples=[sampled, 0], vae=[loader, 2])
    paste = graph.add(
        "ExemplarPasteBack", region=[crop, 2], image=[decoded, 0], feather=0, match_color=True
    )
    return graph.save_image([paste, 0]), graph.save_mask([paste, 1])


@pytest.fixture(scope="module")
def painted(host: Host) -> dict[str, Pictures]:
    """8-bit pictures [H, W, 3] as integers, and weights [H, W], of four regions.

    `together` is the batch; `apart`, `weights` [4, ...] the separate runs; `other` the first one
    with the second one's noise.
    """
    graph = Graph()
    loader, image = graph.load("narrow.safetensors"), graph.image("odd")
    views: list[Link] = [[graph.encode(loader, graph.image(name)), 2] for name in EXEMPLARS]
    masks = [graph.masks([name]) for name in MASKS]
    batch = views[0]
    for view in views[1:]:
        batch = [graph.add("ImageBatch", image1=batch, image2=view), 0]
    together = graph.sample(
        loader, graph.encode(loader, batch), image, graph.masks(MASKS), seed=SEED, steps=STEPS
    )
    whole = graph.save_image([together, 0])
    runs = [
        separate_run(graph, loader, image, view, mask, number)
        for number, (view, mask) in enumerate(zip(views, masks, strict=True))
    ]
    other, _ = separate_run(graph, loader, image, views[0], masks[0], 1)
    run = Run(host, graph)
    return {
        "together": run.pictures(whole)[0].astype(int),
        "apart": np.stack([run.pictures(picture)[0] for picture, _ in runs]).astype(int),
        "weights": np.stack([run.pictures(weight)[0, ..., 0] for _, weight in runs]),
        "other": run.pictures(other)[0].astype(int),
    }


def test_regions_in_one_batch_equal_separate_runs(painted: dict[str, Pictures]) -> None:
    pasted = painted["weights"] > 0
    assert (pasted.sum(axis=0) > 1).any()  # two of the masks overlap
    for picture, own in zip(painted["apart"], pasted, strict=True):
        alone = own & (pasted.sum(axis=0) == 1)
        assert alone.sum() > 5000
        assert np.abs(painted["together"] - picture)[alone].max() <= 2


def test_where_regions_overlap_the_later_one_lies_on_top(painted: dict[str, Pictures]) -> None:
    weights = painted["weights"]
    both = (weights[1] > 0) & (weights[2] == 255)
    difference = np.abs(painted["together"] - painted["apart"])[:, both]
    assert difference[2].max() <= 2 and difference[1].max() > 10


def test_each_region_has_a_noise_of_its_own(painted: dict[str, Pictures]) -> None:
    """So that equal noise is what makes the pictures above equal."""
    inside = painted["weights"][0] == 255
    assert np.abs(painted["other"] - painted["apart"][0])[inside].max() > 10
