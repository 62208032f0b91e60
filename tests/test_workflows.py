"""Workflow files in UI format are the graphs that run in API format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from demo.choose import PAIRS as PAIRS_IN_DEMO
from demo.choose import pairs

ROOT = Path(__file__).parents[1]
PAIRS = {ROOT / "workflows" / "paint-by-example-basic.json": ROOT / "demo" / "basic.json"}
NOT_SENT = {"control_after_generate", "upload"}
OURS = ("LoadExemplarModel", "EncodeExemplar", "Exemplar")


def widget_names(node: dict[str, Any]) -> list[str]:
    """Names of the widgets in the order in which the front end saves their values."""
    names = [each["widget"]["name"] for each in node["inputs"] if "widget" in each]
    if "seed" in names:
        names.insert(names.index("seed") + 1, "control_after_generate")
    return names


def api_graph(workflow: dict[str, Any]) -> dict[str, Any]:
    """What the front end sends for a workflow without subgraphs."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        values = dict(zip(widget_names(node), node["widgets_values"], strict=True))
        inputs = {name: value for name, value in values.items() if name not in NOT_SENT}
        for each in node["inputs"]:
            if each["link"] is not None:
                inputs[each["name"]] = links[each["link"]]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def test_every_workflow_has_an_api_graph() -> None:
    assert set(PAIRS) == set((ROOT / "workflows").glob("*.json"))


@pytest.mark.parametrize(("workflow", "api"), PAIRS.items(), ids=lambda path: path.stem)
def test_ui_and_api_files_are_the_same_graph(workflow: Path, api: Path) -> None:
    expected = json.loads(api.read_text())
    assert api_graph(json.loads(workflow.read_text())) == expected


@pytest.mark.parametrize("workflow", PAIRS, ids=lambda path: path.stem)
def test_nodes_name_their_pack_and_the_official_model(workflow: Path) -> None:
    """The front end offers the missing pack, and the model once it is chosen, by these."""
    for node in json.loads(workflow.read_text())["nodes"]:
        if node["type"].startswith(OURS):
            assert node["properties"]["cnr_id"] == "paint-by-example"
        if node["type"] == "LoadExemplarModel":
            (model,) = node["properties"]["models"]
            assert (model["name"], model["directory"]) == ("model.ckpt", "exemplar")
            assert model["url"].endswith("/Fantasy-Studio/Paint-by-Example/resolve/main/model.ckpt")


@pytest.mark.parametrize("api", PAIRS.values(), ids=lambda path: path.stem)
def test_what_a_graph_names_comes_with_the_pack(api: Path) -> None:
    for node in json.loads(api.read_text()).values():
        if node["class_type"] == "LoadExemplarModel":
            assert (ROOT / "models" / node["inputs"]["model_name"]).is_file()
        if node["class_type"] == "LoadImage":
            assert (ROOT / "demo" / "pictures" / node["inputs"]["image"]).is_file()


def test_the_demo_pictures_are_chosen_by_the_seed() -> None:
    for number, chosen in enumerate(pairs(), start=1):
        for name, picture in zip(("scene", "exemplar"), chosen, strict=True):
            stored = Image.open(ROOT / "demo" / "pictures" / f"{name}-{number}.png")
            assert ImageChops.difference(stored, picture).getbbox(alpha_only=False) is None
    assert number == PAIRS_IN_DEMO
