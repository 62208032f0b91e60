"""What a user does in the host's front end: open, mask, queue, save, share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from support.front_end import FrontEnd, front_end
from support.layout import overlapping

from lab.host.headless import PACK, Host

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WORKFLOWS = sorted((PACK / "example_workflows").glob("*.json"))
BASIC = PACK / "example_workflows" / "paint-by-example-basic.json"
OURS = ("LoadExemplarModel", "EncodeExemplar", "ExemplarInpaintSampler")


@pytest.fixture(scope="module")
def tab(browser: Browser, host: Host) -> Iterator[FrontEnd]:
    """One for all templates: the front end takes longer to load than to open them."""
    with front_end(browser, host) as opened:
        yield opened


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_template_opens_as_it_was_saved(tab: FrontEnd, file: Path) -> None:
    tab.open_template(file.stem)
    tab.fit()
    tab.shot(file.stem)
    opened, saved = tab.graph(), json.loads(file.read_text())
    assert tab.unknown(opened) == []
    assert sorted(opened["links"]) == sorted(saved["links"])
    nodes = {node["id"]: node for node in opened["nodes"]}
    assert nodes.keys() == {node["id"] for node in saved["nodes"]}
    for node in saved["nodes"]:
        assert nodes[node["id"]].get("widgets_values") == node.get("widgets_values"), node["type"]
        assert nodes[node["id"]]["properties"] == node["properties"], node["type"]
    assert overlapping(opened) == []


@dataclass
class Painting:
    """The basic workflow after a run with a mask of the user's own."""

    tab: FrontEnd
    queued: dict[str, Any]
    """The graph when it was queued."""
    painted: Image.Image
    """The picture that the mask editor saved, with the mask as its alpha."""
    output: Path


@pytest.fixture(scope="module")
def painting(browser: Browser, host: Host) -> Iterator[Painting]:
    with front_end(browser, host) as tab:
        tab.open_template(BASIC.stem)
        prompt = tab.prompt()
        ids = {node["class_type"]: int(id) for id, node in prompt.items()}
        sampler, save = ids["ExemplarInpaintSampler"], ids["SaveImage"]
        loader = prompt[str(sampler)]["inputs"]["image"][0]
        tab.paint_mask(int(loader))
        name = tab.prompt()[loader]["inputs"]["image"].removesuffix(" [input]")
        queued = tab.graph()
        tab.run()
        tab.wait_for_progress(sampler)
        tab.shot("progress")
        tab.wait_for_picture(save)
        tab.shot("painted")
        (output,) = (host.folder / "output").glob("*.png")
        yield Painting(tab, queued, Image.open(host.folder / "input" / name), output)


def test_the_stroke_in_the_mask_editor_is_what_gets_painted(painting: Painting) -> None:
    mask = np.array(painting.painted)[..., 3] < 128
    height, width = mask.shape
    assert mask[height // 2, width * 2 // 5 : width * 3 // 5].all()
    assert mask.mean() < 0.25
    before = np.array(painting.painted.convert("RGB"), dtype=int)
    after = np.array(Image.open(painting.output).convert("RGB"), dtype=int)
    changed = np.abs(after - before).max(axis=-1)
    assert changed[mask].mean() > 10
    assert changed[~mask].max() == 0


def test_a_saved_workflow_loads_as_the_same_graph(
    painting: Painting, browser: Browser, host: Host
) -> None:
    painting.tab.save("kept")
    saved = painting.tab.graph()
    with front_end(browser, host) as tab:
        tab.open_saved("kept")
        assert tab.graph() == saved


def test_the_output_picture_brings_its_graph_back(
    painting: Painting, browser: Browser, host: Host
) -> None:
    with front_end(browser, host) as tab:
        tab.drop(painting.output)
        tab.shot("dropped")
        assert tab.graph() == painting.queued


def test_a_host_without_the_pack_asks_for_it(browser: Browser, host_without_pack: Host) -> None:
    """The front end lists missing nodes by type, and looks their pack up by `cnr_id`."""
    with front_end(browser, host_without_pack) as tab:
        tab.drop(BASIC)
        tab.dialog.get_by_text("EncodeExemplar").wait_for()
        tab.shot("missing")
        for node in OURS:
            assert tab.dialog.get_by_text(node, exact=True).is_visible()
        assert any("//api.comfy.org/nodes?node_id=paint-by-example" in url for url in tab.asked)
