"""Workflow files in UI format are the graphs that run in API format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from support.layout import outside_of_groups, overlapping

from lab.demo.choose import PAIRS as PAIRS_IN_DEMO
from lab.demo.choose import pairs
from lab.demo.more_pictures import FRAME_AREA, frames, two_areas, with_areas
from lab.host.headless import PICTURES

ROOT = Path(__file__).parents[1]
PREFIX = "paint-by-example-"
UI_FILES = sorted((ROOT / "example_workflows").glob("*.json"))
NOT_SENT = {"control_after_generate", "upload"}
SEEDS = {"seed", "noise_seed"}
NOTES = {"MarkdownNote", "Note"}
NODES = {path.stem for path in (ROOT / "web" / "docs").glob("*.md")}
DOWNLOADS = {
    "LoadExemplarModel": ("exemplar", "Fantasy-Studio/Paint-by-Example/resolve/main/model.ckpt"),
    "ControlNetLoader": ("controlnet", None),
    "CLIPLoader": ("text_encoders", None),
    "UpscaleModelLoader": ("upscale_models", None),
}
"""Folder and source of what the loaders of the workflows load."""


def api_file(workflow: Path) -> Path:
    """Where the graph of a workflow stands in API format."""
    name = workflow.name.removeprefix(PREFIX)
    return ROOT / "tests" / "api" / name


def widget_names(node: dict[str, Any]) -> list[str]:
    """Names of the widgets in the order in which the front end saves their values."""
    names = [each["widget"]["name"] for each in node["inputs"] if "widget" in each]
    for seed in SEEDS.intersection(names):
        names.insert(names.index(seed) + 1, "control_after_generate")
    return names


def api_graph(workflow: dict[str, Any]) -> dict[str, Any]:
    """What the front end sends for a workflow without subgraphs."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] in NOTES:
            continue
        values = dict(zip(widget_names(node), node["widgets_values"], strict=True))
        inputs = {name: value for name, value in values.items() if name not in NOT_SENT}
        for each in node["inputs"]:
            if each["link"] is not None:
                inputs[each["name"]] = links[each["link"]]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def test_every_workflow_has_an_api_graph_and_a_thumbnail() -> None:
    in_tests = set((ROOT / "tests" / "api").glob("*.json"))
    assert {api_file(path) for path in UI_FILES} == in_tests
    assert {path.stem for path in UI_FILES} == {
        path.stem for path in (ROOT / "example_workflows").glob("*.jpg")
    }


def test_every_node_is_used_by_a_workflow() -> None:
    graphs = [json.loads(api_file(path).read_text()) for path in UI_FILES]
    used = {node["class_type"] for graph in graphs for node in graph.values()}
    assert NODES and used >= NODES


@pytest.mark.parametrize("workflow", UI_FILES, ids=lambda path: path.stem)
def test_ui_and_api_files_are_the_same_graph(workflow: Path) -> None:
    expected = json.loads(api_file(workflow).read_text())
    assert api_graph(json.loads(workflow.read_text())) == expected


@pytest.mark.parametrize("workflow", UI_FILES, ids=lambda path: path.stem)
def test_nodes_name_their_pack_and_what_to_download(workflow: Path) -> None:
    """The front end offers the missing pack, and a missing model once it is chosen, by these."""
    for node in json.loads(workflow.read_text())["nodes"]:
        if node["type"] in NOTES:
            continue
        pack = "paint-by-example" if node["type"] in NODES else "comfy-core"
        assert node["properties"]["cnr_id"] == pack
        if node["type"] in DOWNLOADS:
            (model,) = node["properties"]["models"]
            directory, source = DOWNLOADS[node["type"]]
            assert model["directory"] == directory
            assert model["url"].endswith(source or model["name"])
            # the official model is not what a workflow starts with
            assert model["name"] in (*node["widgets_values"], "model.ckpt")


@pytest.mark.parametrize("workflow", UI_FILES, ids=lambda path: path.stem)
def test_what_a_graph_names_comes_with_the_pack(workflow: Path) -> None:
    for node in json.loads(api_file(workflow).read_text()).values():
        if node["class_type"] == "LoadExemplarModel":
            assert (ROOT / "models" / node["inputs"]["model_name"]).is_file()
        if node["class_type"] == "LoadImage":
            assert (PICTURES / node["inputs"]["image"]).is_file()
        if node["class_type"] == "LoadVideo":
            assert (PICTURES / node["inputs"]["file"]).is_file()


@pytest.mark.parametrize("workflow", UI_FILES, ids=lambda path: path.stem)
def test_nodes_do_not_overlap_and_stand_in_groups(workflow: Path) -> None:
    layout = json.loads(workflow.read_text())
    assert overlapping(layout) == []
    assert outside_of_groups(layout) == []


def same_picture(file: str, picture: Image.Image) -> bool:
    stored = Image.open(PICTURES / file)
    return ImageChops.difference(stored, picture).getbbox(alpha_only=False) is None


def test_the_demo_pictures_are_chosen_by_the_seed() -> None:
    for number, chosen in enumerate(pairs(), start=1):
        for name, picture in zip(("scene", "exemplar"), chosen, strict=True):
            assert same_picture(f"{name}-{number}.png", picture)
    assert number == PAIRS_IN_DEMO


def test_the_other_pictures_are_made_of_the_photo() -> None:
    assert same_picture("two-areas.png", two_areas())
    assert same_picture("frame-1.png", with_areas(frames()[0], (FRAME_AREA,)))
