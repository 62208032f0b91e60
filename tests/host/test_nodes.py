"""The nodes in a running host: schemas, pictures, batches, regions and stock nodes around them."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from exemplar_model.exemplar import exemplar_view
from lab.demo.__main__ import node_of, paint, side_by_side
from lab.host.graphs import Graph, Run
from lab.host.headless import PACK, PACK_NAME, PICTURES, Host
from lab.host.pictures import pictures

SCHEMAS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "LoadExemplarModel": (
        {"model_name": ..., "weight_dtype": "default"},
        ["MODEL", "EXEMPLAR_ENCODER", "VAE"],
    ),
    "EncodeExemplar": (
        {
            "encoder": ...,
            "image": ...,
            "framing": "stretch",
            "merge": "separate",
            "strength": 1.0,
            "mask": ...,
            "mask_background": "keep",
            "tokens": "class token",
        },
        ["CONDITIONING", "CONDITIONING", "IMAGE"],
    ),
    "ExemplarInpaintSampler": (
        {
            "model": ...,
            "positive": ...,
            "negative": ...,
            "vae": ...,
            "image": ...,
            "mask": ...,
            "seed": 0,
            "steps": 25,
            "cfg": 5.0,
            "sampler_name": "dpmpp_2m",
            "scheduler": "karras",
            "denoise": 1.0,
            "region": "around mask",
            "context": 2.0,
            "resolution": 512,
            "feather": 0,
            "match_color": True,
        },
        ["IMAGE", "LATENT", "MASK", "IMAGE"],
    ),
    "ExemplarCropToMask": (
        {"image": ..., "mask": ..., "context": 2.0, "resolution": 512},
        ["IMAGE", "MASK", "EXEMPLAR_REGION"],
    ),
    "ExemplarPasteBack": (
        {"region": ..., "image": ..., "feather": 0, "match_color": True},
        ["IMAGE", "MASK"],
    ),
    "ExemplarReferenceSampler": (
        {"model": ..., "algorithm": "plms", "steps": 50, "denoise": 1.0},
        ["SAMPLER", "SIGMAS"],
    ),
    "ExemplarGuidance": ({"model": ..., "start": 0.0, "end": 1.0}, ["MODEL"]),
    "ExemplarSplitMask": ({"mask": ..., "min_size": 0.01}, ["MASK"]),
    "ExemplarPrepareMask": (
        {"mask": ..., "threshold": 0.5, "grow": 0, "fill_holes": True, "keep": "all parts"},
        ["MASK"],
    ),
    "SaveExemplar": (
        {
            "positive": ...,
            "negative": ...,
            "view": ...,
            "encoder": ...,
            "filename_prefix": "exemplar",
        },
        [],
    ),
    "LoadExemplar": (
        {"exemplar_name": ..., "encoder": ...},
        ["CONDITIONING", "CONDITIONING", "IMAGE"],
    ),
}


@pytest.mark.parametrize("node", SCHEMAS)
def test_schema(host: Host, node: str) -> None:
    """Ids, inputs, defaults and outputs are what shared workflow files rely on."""
    inputs, outputs = SCHEMAS[node]
    info = host.get(f"object_info/{node}")[node]
    declared = {
        name: spec[1].get("default", ...) if len(spec) > 1 else ...
        for group in ("required", "optional")
        for name, spec in info["input"].get(group, {}).items()
    }
    assert declared == inputs
    assert info["output"] == outputs
    assert info["category"] == "exemplar"
    assert info["python_module"] == f"custom_nodes.{PACK_NAME}"
    for group in ("required", "optional"):
        for name, spec in info["input"].get(group, {}).items():
            assert spec[1].get("tooltip"), f"{node}.{name} has no tooltip"
    assert len(info["output_tooltips"]) == len(outputs)
    assert all(info["output_tooltips"]), f"an output of {node} has no tooltip"


def test_templates_are_served(host: Host) -> None:
    templates = host.get("workflow_templates")[PACK_NAME]
    # the host lists them as the file system does
    assert sorted(templates) == sorted(
        path.stem for path in (PACK / "example_workflows").glob("*.json")
    )
    for name in templates:
        assert host.get(f"api/workflow_templates/{PACK_NAME}/{name}.json")["nodes"]


def test_every_node_of_the_pack_is_known_here(host: Host) -> None:
    """So that what the tests of this file hold, they hold for every node."""
    ours = {
        name
        for name, info in host.get("object_info").items()
        if info["python_module"] == f"custom_nodes.{PACK_NAME}"
    }
    assert ours == SCHEMAS.keys()


@pytest.mark.parametrize("node", SCHEMAS)
def test_help_page(host: Host, node: str) -> None:
    """It tells every input and output in its tables, and shows a picture of its own."""
    folder = f"http://{host.address}/extensions/{PACK_NAME}/docs"
    page = requests.get(f"{folder}/{node}.md")
    assert page.status_code == 200 and page.text.startswith("# ")
    info = host.get(f"object_info/{node}")[node]
    rows = re.findall(r"^\| ([^|]+) \|", page.text, re.MULTILINE)
    told = {name.removesuffix(" (optional)") for row in rows for name in row.split(", ")}
    inputs = {name for group in ("required", "optional") for name in info["input"].get(group, {})}
    assert inputs | set(info["output_name"]) <= told
    (name,) = re.findall(r"^!\[[^]]+\]\(([^)/]+)\)$", page.text, re.MULTILINE)
    picture = requests.get(f"{folder}/{name}")
    assert picture.status_code == 200
    assert Image.open(BytesIO(picture.content)).width >= 300
    assert len(picture.content) < 150_000


def test_encoder_shows_what_it_saw(host: Host) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.image("face"), strength=0.95)  # not cached by another test
    graph.save_image([encode, 2])
    shown = Run(host, graph).pictures(encode)[0]
    face = torch.from_numpy(np.array(pictures()["face"])).float() / 255
    assert np.array_equal(shown, (exemplar_view(face, 224) * 255).round().byte().numpy())


def test_demo_prompt_and_side_by_side(host: Host) -> None:
    """The demo's own graph, model and pictures, with fewer steps."""
    prompt = json.loads((PACK / "tests" / "api" / "basic.json").read_text())
    prompt[node_of(prompt, "ExemplarInpaintSampler")]["inputs"]["steps"] = 2
    outputs = paint(host, prompt)
    result = host.output(outputs[node_of(prompt, "SaveImage")]["images"][0])
    image, exemplar, painted = (
        Image.open(path) for path in (PICTURES / "scene-1.png", PICTURES / "exemplar-1.png", result)
    )
    assert painted.size == image.size
    kept = np.array(image)[..., 3] == 255
    change = np.abs(np.array(painted.convert("RGB")).astype(int) - np.array(image)[..., :3])
    assert change[~kept].mean() > 10
    assert (change[kept] == 0).all()
    sheet = side_by_side(image, exemplar, painted)
    assert sheet.height == 348 and sheet.width > 4 * 320
    assert (np.array(sheet)[150, 430:800] == (255, 0, 255)).all(-1).any()  # the marked area


MASKS = {
    "inside": ["odd_mask"],
    "border": ["odd_mask_border"],
    "everything": ["odd_mask_all"],
    "half": ["odd_mask_half"],
    "three regions": ["odd_mask", "odd_mask_border", "odd_mask_left"],
}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("region", ["around mask", "whole image"])
@pytest.mark.parametrize("image", ["odd", "odd_rgba"])
def test_outside_the_paste_mask_nothing_changes(
    host: Host, masks: list[str], region: str, image: str
) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    picture = graph.image(image)
    encode = graph.encode(loader, graph.image("face"))
    if image == "odd_rgba":  # four channels, as packs that keep alpha hand them on
        alpha = graph.masks(["odd_mask_half"])
        picture = [graph.add("JoinImageWithAlpha", image=picture, alpha=alpha), 0]
    sample = graph.sample(loader, encode, picture, graph.masks(masks), region=region)
    painted = graph.save_image([sample, 0])
    weight = graph.save_mask([sample, 2])
    before = graph.save_image(graph.image("odd"))
    run = Run(host, graph)
    result, original = run.pictures(painted)[0], run.pictures(before)[0]
    pasted = run.pictures(weight)[0, ..., 0] > 0
    mask = np.max([np.array(pictures()[name]) for name in masks], axis=0) > 0
    assert result.shape == original.shape
    assert np.array_equal(result[~pasted], original[~pasted])
    assert (result != original).any(-1)[mask].mean() > 0.9
    assert np.array_equal(pasted, mask)  # no ramp without feather


def test_each_region_has_its_own_exemplar(host: Host) -> None:
    """Another exemplar for two of three regions changes these two and not the third."""
    masks = ["odd_mask", "odd_mask_border", "odd_mask_left"]
    exemplars = ("cat", "coffee", "small")
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    image = graph.image("odd")
    views = [[graph.encode(loader, graph.image(name)), 2] for name in exemplars]
    batch = views[0]
    for view in views[1:]:
        batch = [graph.add("ImageBatch", image1=batch, image2=view), 0]
    together = graph.sample(loader, graph.encode(loader, batch), image, graph.masks(masks))
    latent = graph.save_latent([together, 1])
    swapped = graph.sample(
        loader,
        graph.encode(loader, graph.images(["small", "small", "small"])),
        image,
        graph.masks(masks),
    )
    other = graph.save_latent([swapped, 1])
    run = Run(host, graph)
    latents, others = run.latent(latent), run.latent(other)
    assert latents.shape[0] == 3
    torch.testing.assert_close(latents[2], others[2], rtol=1e-4, atol=1e-4)
    assert (latents[0] - others[0]).abs().max() > 1e-3
    assert (latents[1] - others[1]).abs().max() > 1e-3


def test_images_masks_and_exemplars_in_pairs(host: Host) -> None:
    """Each image is painted in its own mask; swapping the exemplars changes both latents."""
    names = ["small", "small_flipped"]
    masks = ["small_mask", "small_mask_off_grid"]
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    views = [graph.encode(loader, graph.image(name)) for name in ("face", "paw")]
    samples = []
    for first, second in (views, views[::-1]):
        batch = [graph.add("ImageBatch", image1=[first, 2], image2=[second, 2]), 0]
        encode = graph.encode(loader, batch)
        samples.append(graph.sample(loader, encode, graph.images(names), graph.masks(masks)))
    latents = [graph.save_latent([sample, 1]) for sample in samples]
    painted = graph.save_image([samples[0], 0])
    weight = graph.save_mask([samples[0], 2])
    before = graph.save_image(graph.images(names))
    run = Run(host, graph)
    result, original, pasted = (run.pictures(each) for each in (painted, before, weight))
    assert result.shape == (2, 64, 96, 3)
    for number, mask in enumerate(masks):
        outside = pasted[number, ..., 0] == 0
        assert np.array_equal(result[number][outside], original[number][outside])
        assert (pasted[number][np.array(pictures()[mask]) > 0] == 255).all()
    straight, swapped = (run.latent(each) for each in latents)
    assert all((straight[n] - swapped[n]).abs().max() > 1e-4 for n in range(2))


def test_merge_averages_and_strength_scales(host: Host) -> None:
    """Two equal exemplars average to one; strength 0 is the null condition."""

    def latent(**changes: Any) -> torch.Tensor:
        graph = Graph()
        loader = graph.load("narrow.safetensors")
        names = changes.pop("exemplars", ["face"])
        encode = graph.encode(loader, graph.images(names), **changes)
        sample = graph.sample(loader, encode, graph.image("odd"), graph.masks(["odd_mask"]))
        saved = graph.save_latent([sample, 1])
        return Run(host, graph).latent(saved)

    plain = latent()
    merged = latent(exemplars=["face", "face"], merge="average")
    torch.testing.assert_close(merged, plain, rtol=1e-4, atol=1e-4)
    assert (latent(strength=0.0) - plain).abs().max() > 1e-3
    assert (latent(framing="crop") - plain).abs().max() > 1e-4


def test_exemplar_mask_selects(host: Host) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    mask = graph.masks(["odd_mask_left"])
    encode = graph.encode(
        loader, graph.image("odd"), mask=mask, mask_background="white", framing="pad"
    )
    run = Run(host, graph_with_output(graph, encode))
    image = torch.from_numpy(np.array(pictures()["odd"])).float() / 255
    selection = torch.from_numpy(np.array(pictures()["odd_mask_left"])).float() / 255
    expected = exemplar_view(image, 224, "pad", selection, "white")
    assert np.array_equal(run.pictures(encode)[0], (expected * 255).round().byte().numpy())


def graph_with_output(graph: Graph, encode: str) -> Graph:
    graph.save_image([encode, 2])
    return graph


@pytest.mark.parametrize(
    ("sampler", "scheduler", "denoise"),
    [
        ("plms", "ddim_uniform", 0.5),
        ("plms", "karras", 1.0),
        ("euler", "normal", 1.0),
        ("dpmpp_2m", "karras", 0.6),
        ("ddim", "ddim_uniform", 1.0),
        ("uni_pc", "simple", 1.0),
        ("dpm_2", "normal", 1.0),
    ],
)
def test_host_samplers(host: Host, sampler: str, scheduler: str, denoise: float) -> None:
    graph = Graph()
    sample = graph.paint(
        ["odd_mask"], sampler_name=sampler, scheduler=scheduler, denoise=denoise, steps=4
    )
    saved = graph.save_latent([sample, 1])
    latent = Run(host, graph).latent(saved)
    assert latent.shape == (1, 4, 8, 8) and latent.isfinite().all()
    assert 0.05 < float(latent.std()) < 100


def test_low_denoise_stays_near_the_original(host: Host) -> None:
    """What lies under the mask matters below denoise 1, the more the lower it is."""

    def change(denoise: float) -> float:
        graph = Graph()
        sample = graph.paint(["odd_mask"], denoise=denoise, steps=2, match_color=False)
        loader = next(k for k, v in graph.prompt.items() if v["class_type"] == "LoadExemplarModel")
        crop = graph.crop(graph.image("odd"), graph.masks(["odd_mask"]))
        start = graph.save_latent([graph.add("VAEEncode", pixels=[crop, 0], vae=[loader, 2]), 0])
        end = graph.save_latent([sample, 1])
        run = Run(host, graph)
        return float((run.latent(end) - run.latent(start)).norm())

    assert change(0.02) < 0.5 * change(0.3)


@pytest.mark.parametrize("weight_dtype", ["fp32", "fp16", "bf16", "fp8_e4m3fn"])
def test_weight_dtypes(host: Host, weight_dtype: str) -> None:
    def latent(dtype: str) -> torch.Tensor:
        graph = Graph()
        loader = graph.load("narrow.safetensors", dtype)
        encode = graph.encode(loader, graph.image("face"))
        sample = graph.sample(loader, encode, graph.image("odd"), graph.masks(["odd_mask"]))
        saved = graph.save_latent([sample, 1])
        return Run(host, graph).latent(saved)

    expected, result = latent("default"), latent(weight_dtype)
    error = float((result - expected).norm() / expected.norm())
    bounds = {"fp32": 1e-6, "fp16": 5e-3, "bf16": 5e-2, "fp8_e4m3fn": 0.5}
    assert error <= bounds[weight_dtype]
    assert weight_dtype == "fp32" or error > 0


def test_stock_ksampler_between_crop_and_paste(host: Host) -> None:
    """The pack's region, then only the host's own nodes, then the pack's paste."""
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    encode = graph.encode(loader, graph.image("face"))
    crop = graph.crop(graph.image("odd"), graph.masks(["odd_mask"]))
    masked = graph.masked(loader, encode, [crop, 0], [crop, 1], noise_mask=True)
    latent = graph.ksampler(loader, masked, [masked, 2], steps=3)
    decoded = graph.add("VAEDecode", samples=[latent, 0], vae=[loader, 2])
    bigger = graph.add("ImageScaleBy", image=[decoded, 0], upscale_method="bicubic", scale_by=2.0)
    paste = graph.add(
        "ExemplarPasteBack", region=[crop, 2], image=[bigger, 0], feather=8, match_color=True
    )
    painted, weight = graph.save_image([paste, 0]), graph.save_mask([paste, 1])
    before = graph.save_image(graph.image("odd"))
    run = Run(host, graph)
    result, original = run.pictures(painted)[0], run.pictures(before)[0]
    outside = run.pictures(weight)[0, ..., 0] == 0
    assert np.array_equal(result[outside], original[outside])
    assert (result != original).any(-1)[~outside].mean() > 0.9


@pytest.mark.parametrize("stock", ["ConditioningAverage", "ConditioningConcat", "SetMask"])
def test_stock_conditioning_nodes(host: Host, stock: str) -> None:
    graph = Graph()
    loader = graph.load("narrow.safetensors")
    first, second = (graph.encode(loader, graph.image(name)) for name in ("face", "paw"))
    if stock == "ConditioningAverage":
        both = graph.add(
            stock,
            conditioning_to=[first, 0],
            conditioning_from=[second, 0],
            conditioning_to_strength=0.5,
        )
    elif stock == "ConditioningConcat":
        both = graph.add(stock, conditioning_to=[first, 0], conditioning_from=[second, 0])
    else:
        both = graph.add(
            "ConditioningSetMask",
            conditioning=[first, 0],
            mask=graph.masks(["small_mask"]),
            strength=1.0,
            set_cond_area="default",
        )
    image, mask = graph.image("odd"), graph.masks(["odd_mask"])
    plain = graph.sample(loader, first, image, mask)
    mixed = graph.sample(loader, first, image, mask, positive=[both, 0])
    a, b = graph.save_latent([plain, 1]), graph.save_latent([mixed, 1])
    run = Run(host, graph)
    assert run.latent(b).isfinite().all()
    assert (run.latent(a) - run.latent(b)).abs().max() > 1e-4


def test_inputs_are_not_changed(host: Host) -> None:
    """Stock nodes read from the cached inputs the same before and after our nodes read them.

    The host keeps what the prompt before used: the inputs over all three prompts, while the stock
    nodes compute anew in the third.
    """
    inputs = {"LoadExemplarModel", "EncodeExemplar", "LoadImage"}

    def run(ours: bool) -> tuple[torch.Tensor, set[str]]:
        graph, executed = Graph(), set[str]()
        loader = graph.load("narrow.safetensors")
        encode = graph.encode(loader, graph.image("face"), strength=0.9)
        image, mask = graph.image("small"), graph.masks(["small_mask"])
        if ours:
            crop = graph.crop(image, mask)
            sample = graph.sample(loader, encode, image, mask, denoise=0.7, seed=77)
            paste = graph.add(
                "ExemplarPasteBack", region=[crop, 2], image=[crop, 0], feather=2, match_color=True
            )
            graph.save_image([paste, 0])
            saved = graph.save_latent([sample, 1])
        else:
            masked = graph.masked(loader, encode, image, mask, noise_mask=True)
            saved = graph.save_latent([graph.ksampler(loader, masked, [masked, 2]), 0])

        def note(kind: str, data: dict[str, Any]) -> None:
            if kind == "executing" and data["node"]:
                executed.add(graph.prompt[data["node"]]["class_type"])

        return Run(host, graph, note).latent(saved), executed

    before, _ = run(ours=False)
    _, executed = run(ours=True)
    assert not executed & inputs
    after, executed = run(ours=False)
    assert "KSampler" in executed and not executed & inputs
    assert torch.equal(before, after)


def test_replaced_model_file_is_read_again(host: Host) -> None:
    path = host.folder / "models" / "exemplar" / "replaced.safetensors"
    source = host.folder / "models" / "exemplar"

    def latent(model: str) -> torch.Tensor:
        path.write_bytes((source / model).read_bytes())
        graph = Graph()
        sample = graph.paint(["odd_mask"], model="replaced.safetensors")
        saved = graph.save_latent([sample, 1])
        return Run(host, graph).latent(saved)

    assert latent("narrow.safetensors").shape != latent("wide.safetensors").shape
    path.unlink()
