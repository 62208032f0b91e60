"""Exemplar Split Mask in a running host."""

from __future__ import annotations

import numpy as np
import pytest

from lab.host.graphs import Graph, Link, Run
from lab.host.headless import Host, HostError
from lab.host.pictures import pictures


def split(graph: Graph, mask: Link, min_size: float = 0.01) -> Link:
    return [graph.add("ExemplarSplitMask", mask=mask, min_size=min_size), 0]


def test_areas_of_one_mask_are_painted_as_separate_masks_are(host: Host) -> None:
    """The leftmost area takes the first exemplar, and the picture is the same in every pixel."""

    def painted(one_mask: bool) -> tuple[np.ndarray, np.ndarray]:
        graph = Graph()
        loader = graph.load("narrow.safetensors")
        views = [[graph.encode(loader, graph.image(name)), 2] for name in ("face", "paw")]
        batch = [graph.add("ImageBatch", image1=views[0], image2=views[1]), 0]
        encode = graph.encode(loader, batch)
        if one_mask:
            masks = split(graph, graph.masks(["odd_mask_two"]))
        else:
            masks = graph.masks(["odd_mask_left", "odd_mask_border"])
        sample = graph.sample(loader, encode, graph.image("odd"), masks)
        saved, seen = graph.save_image([sample, 0]), graph.save_mask(masks)
        run = Run(host, graph)
        return run.pictures(saved), run.pictures(seen)

    (picture, parts), (expected, masks) = painted(True), painted(False)
    assert len(parts) == 2 and np.array_equal(parts, masks)
    assert np.array_equal(picture, expected)
    original = np.array(pictures()["odd"])
    for mask in masks[..., 0] > 0:
        assert (picture[0] != original).any(-1)[mask].mean() > 0.9


def test_small_parts_are_dropped(host: Host) -> None:
    """The left area has a third of the other's pixels."""
    graph = Graph()
    mask = graph.masks(["odd_mask_two"])
    both, large = (graph.save_mask(split(graph, mask, share)) for share in (0.33, 0.34))
    run = Run(host, graph)
    assert len(run.pictures(both)) == 2
    expected = np.array(pictures()["odd_mask_border"])
    assert np.array_equal(run.pictures(large)[..., 0], expected[None])


def test_empty_mask(host: Host) -> None:
    graph = Graph()
    graph.save_mask(split(graph, [graph.add("LoadImage", image="odd.png"), 1]))
    with pytest.raises(HostError, match=r"^The mask is empty; [^\n]+\.$"):
        Run(host, graph)
