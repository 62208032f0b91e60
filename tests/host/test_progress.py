"""Progress, previews and interrupt over the host's websocket."""

from __future__ import annotations

from typing import Any

import pytest

from lab.host.graphs import Graph, Run
from lab.host.headless import Host, HostError


def test_progress_and_previews_reach_the_websocket(host: Host) -> None:
    graph = Graph()
    sample = graph.paint(["odd_mask"], steps=5, seed=101)
    graph.save_image([sample, 0])
    progress, previews = [], []

    def on_event(kind: str, data: dict[str, Any]) -> None:
        if kind == "progress" and data["node"] == sample:
            progress.append((data["value"], data["max"]))
        elif kind == "preview":
            previews.append(data["bytes"])

    Run(host, graph, on_event)
    assert progress == [(step, 5) for step in range(1, 6)]
    assert len(previews) == 5
    assert all(b"\xff\xd8\xff" in preview for preview in previews)  # JPEG inside


@pytest.mark.parametrize("sampler", ["plms", "euler"])
def test_interrupt_stops_within_one_step_and_the_next_prompt_runs(host: Host, sampler: str) -> None:
    graph = Graph()
    # slow steps, so that what is on its way when the interrupt arrives is no whole step
    sample = graph.paint(
        ["odd_mask"],
        model="wide.safetensors",
        resolution=256,
        steps=100,
        sampler_name=sampler,
        seed=102,
    )
    graph.save_image([sample, 0])
    seen: list[int] = []
    stopped_at: list[int] = []

    def on_event(kind: str, data: dict[str, Any]) -> None:
        if kind == "progress" and data["node"] == sample:
            seen.append(data["value"])
            if not stopped_at:
                host.interrupt()
                stopped_at.append(data["value"])

    with pytest.raises(HostError, match=r"^interrupted$"):
        Run(host, graph, on_event)
    assert seen[-1] <= stopped_at[0] + 1
    after = Graph()
    saved = after.save_image([after.paint(["odd_mask"], seed=103), 0])
    assert Run(host, after).pictures(saved).shape == (1, 719, 1277, 3)
