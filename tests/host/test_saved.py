"""Save Exemplar and Load Exemplar in a running host."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.library import run_in_host_process
from support.refusals import refused

from exemplar_model.exemplar import exemplar_view
from exemplar_model.saved import SavedExemplar
from lab.host.graphs import Graph, Link, Run
from lab.host.headless import Host
from lab.host.pictures import pictures

STRENGTHS = itertools.count(1)


@pytest.fixture
def saved(host: Host) -> Iterator[Path]:
    """The folder that Save Exemplar writes to, empty before and after."""
    folder = host.folder / "output" / "exemplars"
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def save(graph: Graph, loader: str, encode: str, prefix: str = "rose", **changes: Any) -> str:
    links = {"positive": [encode, 0], "negative": [encode, 1], "view": [encode, 2]}
    links |= {"encoder": [loader, 1]}
    return graph.add("SaveExemplar", **{**links, "filename_prefix": prefix, **changes})


def load(graph: Graph, loader: str, name: str) -> str:
    return graph.add("LoadExemplar", exemplar_name=name, encoder=[loader, 1])


def sampled(graph: Graph, loader: str, encode: str, masks: tuple[str, ...] = ("odd_mask",)) -> str:
    image, mask = graph.image("odd"), graph.masks(list(masks))
    return graph.save_latent([graph.sample(loader, encode, image, mask), 1])


def save_one(host: Host, model: str = "narrow", prefix: str = "rose", face: str = "face") -> Path:
    """Save an exemplar that no earlier prompt saved; the path of its file."""
    graph = Graph()
    loader = graph.load(f"{model}.safetensors")
    strength = 1 + next(STRENGTHS) / 1000
    node = save(graph, loader, graph.encode(loader, graph.image(face), strength=strength), prefix)
    (entry,) = Run(host, graph).outputs[node]["exemplars"]
    return host.output(entry)


def refusal(host: Host, graph: Graph) -> str:
    message = refused(host, graph)
    assert "\n" not in message and message.endswith((".", ".)"))  # the host adds parentheses
    return message


def load_refusal(host: Host, name: str, model: str = "narrow") -> str:
    graph = Graph()
    loader = graph.load(f"{model}.safetensors")
    graph.save_image([load(graph, loader, name), 2])
    message = refusal(host, graph)
    assert name.removesuffix(" [output]") in message
    return message


def test_round_trip_paints_the_same_picture(host: Host, saved: Path) -> None:
    """Two exemplars for two regions: the latents are equal bit by bit, and so is the view."""
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.images(["face", "face"]), strength=1.5)
    masks = ("odd_mask", "odd_mask_left")
    save(graph, loader, encode)
    before = sampled(graph, loader, encode, masks)
    run = Run(host, graph)
    expected, shown = run.latent(before), run.pictures(encode)

    graph = Graph()
    loader = graph.load("narrow.safetensors")
    loaded = load(graph, loader, "rose_00001_.safetensors [output]")
    after = sampled(graph, loader, loaded, masks)
    again = save(graph, loader, loaded, "again")
    view = graph.save_image([loaded, 2])
    run = Run(host, graph)
    assert torch.equal(run.latent(after), expected)
    assert np.array_equal(run.pictures(loaded), shown)
    assert np.array_equal(run.pictures(view), shown)
    (entry,) = run.outputs[again]["exemplars"]
    first, second = load_file(saved / "rose_00001_.safetensors"), load_file(host.output(entry))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["context"].shape == (2, 1, 48)


def test_file_holds_the_thumbnail_and_the_model(host: Host, saved: Path) -> None:
    exemplar = SavedExemplar.read(save_one(host, prefix="flowers/rose"))
    assert os.listdir(saved / "flowers") == ["rose_00001_.safetensors"]
    assert exemplar.model.name == "narrow.safetensors"
    face = torch.from_numpy(np.array(pictures()["face"])).float() / 255
    assert torch.equal(exemplar.view, exemplar_view(face, 224)[None])


def test_files_are_never_written_over(host: Host, saved: Path) -> None:
    first = save_one(host)
    content = first.read_bytes()
    second = save_one(host)
    assert sorted(os.listdir(saved)) == [first.name, second.name]
    assert first.name == "rose_00001_.safetensors" and second.name == "rose_00002_.safetensors"
    assert first.read_bytes() == content != second.read_bytes()


def test_model_folder_and_output_folder_are_listed(host: Host, saved: Path) -> None:
    """A file of the same name in both is two choices."""
    folder = host.folder / "models" / "exemplar_embeddings"
    folder.mkdir()
    path = save_one(host)
    shutil.copy(path, folder / path.name)
    (folder / "notes.txt").write_text("no exemplar")
    info = host.get("object_info/LoadExemplar")["LoadExemplar"]["input"]["required"]
    assert info["exemplar_name"][1]["options"] == [path.name, f"{path.name} [output]"]
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    latents = [
        sampled(graph, loader, load(graph, loader, path.name + suffix))
        for suffix in ("", " [output]")
    ]
    run = Run(host, graph)
    assert torch.equal(*(run.latent(latent) for latent in latents))
    shutil.rmtree(folder)


def test_a_replaced_file_is_read_again(host: Host, saved: Path) -> None:
    def latent() -> torch.Tensor:
        graph = Graph()
        loader = graph.load("narrow.safetensors")
        loaded = load(graph, loader, f"{path.name} [output]")
        node = sampled(graph, loader, loaded)
        return Run(host, graph).latent(node)

    path, other = save_one(host), save_one(host, face="paw")
    before = latent()
    assert torch.equal(latent(), before)
    shutil.copy(other, path)
    assert not torch.equal(latent(), before)


def test_another_model_is_refused(host: Host, saved: Path) -> None:
    path = save_one(host, "narrow")
    message = load_refusal(host, f"{path.name} [output]", "wide")
    assert "encoded by narrow.safetensors (" in message
    assert "that of wide.safetensors (" in message and "load narrow.safetensors" in message


def test_other_files_are_refused(host: Host, saved: Path) -> None:
    saved.mkdir()
    save_file({"weight": torch.zeros(3)}, saved / "foreign.safetensors")
    assert "is no saved exemplar" in load_refusal(host, "foreign.safetensors [output]")
    path = save_one(host)
    os.truncate(path, path.stat().st_size // 2)
    assert "damaged or incomplete" in load_refusal(host, f"{path.name} [output]")


@pytest.mark.parametrize(
    "name",
    [
        "../exemplar/narrow.safetensors",
        "../../models/exemplar/narrow.safetensors [output]",
        "/etc/hostname",
        "gone.safetensors [output]",
    ],
)
def test_only_listed_files_load(host: Host, saved: Path, name: str) -> None:
    assert f"'{name}' is not available" in load_refusal(host, name)


BEHIND_THE_COMBO = """
import json
import folder_paths
from pack.nodes.host import saved_exemplars

folder_paths.models_dir, folder_paths.output_directory = str(path / "models"), str(path / "output")
saved_exemplars.register_exemplar_folder()
answers = [saved_exemplars.EXEMPLARS.names()]
for name in ("rose.safetensors", "../secret.safetensors", "../../secret.safetensors [output]"):
    try:
        answers.append(saved_exemplars.EXEMPLARS.path(name).read_text())
    except FileNotFoundError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


def test_the_combo_is_not_the_only_check(tmp_path: Path) -> None:
    """Other packs may hand any value past a combo."""
    for folder in ("models/exemplar_embeddings", "output/exemplars"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "models/exemplar_embeddings/rose.safetensors").write_text("listed")
    for file in ("models/secret.safetensors", "secret.safetensors"):
        (tmp_path / file).write_text("not listed")
    names, *answers = run_in_host_process(BEHIND_THE_COMBO, tmp_path)
    assert names == ["rose.safetensors"] and answers[0] == "listed"
    assert all(each.startswith("There is no saved exemplar '../") for each in answers[1:])


@pytest.mark.parametrize("prefix", ["../rose", "../../rose", "/tmp/rose", "flowers/../../rose", ""])
def test_nothing_is_written_elsewhere(host: Host, saved: Path, prefix: str) -> None:
    before = {path for path in host.folder.rglob("*rose*") if path.is_file()}
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    save(graph, loader, graph.encode(loader, graph.image("face")), prefix)
    assert f"filename_prefix '{prefix}' is no name" in refusal(host, graph)
    assert {path for path in host.folder.rglob("*rose*") if path.is_file()} == before
    assert not list(Path("/tmp").glob("rose_*")) and not saved.exists()


def test_what_a_file_would_lose_is_refused(host: Host, saved: Path) -> None:
    def attempt(model: str = "narrow", stock: str | None = None, **inputs: Any) -> str:
        graph = Graph()
        loader = graph.load("narrow.safetensors")
        encode = graph.encode(loader, graph.image("face"))
        positive: Link = [encode, 0]
        if stock is not None:
            inputs = {name: value or positive for name, value in inputs.items()}
            positive = [graph.add(stock, **inputs), 0]
        save(graph, graph.load(f"{model}.safetensors"), encode, positive=positive)
        return refusal(host, graph)

    message = attempt(stock="ConditioningSetTimestepRange", conditioning=None, start=0.2, end=0.5)
    assert "positive carries more than an exemplar (end_percent, start_percent)" in message
    message = attempt(stock="ConditioningCombine", conditioning_1=None, conditioning_2=None)
    assert "positive combines 2 conditionings" in message
    assert "48 channels where this encoder makes 768" in attempt("wide")
    assert not saved.exists()
