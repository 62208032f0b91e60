"""Exemplar Prepare Mask in a running host."""

from __future__ import annotations

import numpy as np
import pytest

from lab.host.graphs import Graph, Link, Run
from lab.host.headless import Host, HostError
from lab.host.pictures import pictures


def prepare(graph: Graph, mask: Link, **changes: object) -> Link:
    settings = {"threshold": 0.5, "grow": 0, "fill_holes": True, "keep": "all parts"}
    return [graph.add("ExemplarPrepareMask", mask=mask, **{**settings, **changes}), 0]


def test_largest_part_grown_and_two_masks(host: Host) -> None:
    graph = Graph()
    masks = graph.masks(["odd_mask_two", "odd_mask_left"])
    saved = graph.save_mask(prepare(graph, masks, keep="largest part", grow=10))
    result = Run(host, graph).pictures(saved)[..., 0]
    expected = np.zeros((2, 719, 1277), np.uint8)
    expected[0, 490:, 1090:] = 255
    expected[1, 30:180, 30:150] = 255
    assert np.array_equal(result, expected)


def test_default_leaves_a_clean_mask_as_it_is(host: Host) -> None:
    graph = Graph()
    saved = graph.save_mask(prepare(graph, graph.masks(["odd_mask"])))
    assert np.array_equal(Run(host, graph).pictures(saved)[0, ..., 0], pictures()["odd_mask"])


def test_nothing_left(host: Host) -> None:
    graph = Graph()
    graph.save_mask(prepare(graph, graph.masks(["odd_mask_left"]), grow=-60))
    with pytest.raises(HostError, match=r"^Nothing is left of the mask [^\n]+\.$"):
        Run(host, graph)
