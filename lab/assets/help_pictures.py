"""Make the pictures of the help pages by running the nodes: `nox -s help_pictures`.

Each is a row of panels, from the bundled model and the demo's pictures, with the demo's seed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from lab.arguments import tool_arguments
from lab.host.graphs import Graph, Link, Run
from lab.host.headless import PACK, PICTURES, Host, running_host
from lab.host.pictures import ellipses
from lab.panels import captioned_row, mark_hole

PAGES = PACK / "web" / "docs"
MODEL = "exemplar-tiny.safetensors"
PAINT = {"seed": 0, "steps": 20, "cfg": 3.5}
PANEL_HEIGHT = 176

Pictures = dict[str, Image.Image]
Panels = dict[str, Link | Image.Image]
"""By caption: pictures, or links to IMAGE outputs."""


def pages(graph: Graph) -> dict[str, Panels]:
    """The panels of each page."""
    loader = graph.load(MODEL)
    scene, helmet, truck = (graph.image(name) for name in ("scene-1", "exemplar-1", "exemplar-4"))
    cat, coffee = graph.image("cat"), graph.image("coffee")
    hole = [scene[0], 1]
    encode = graph.encode(loader, helmet)
    ours = graph.sample(loader, encode, scene, hole, **PAINT)
    masked, exemplar = mark_hole(demo_picture("scene-1")), demo_picture("exemplar-1")
    model_panels: Panels = {"image and mask": masked, "exemplar": exemplar}

    encoded = [graph.add("VAEEncode", pixels=scene, vae=[loader, 2]), 0]
    decoded = [graph.add("VAEDecode", samples=encoded, vae=[loader, 2]), 0]

    eye = graph.masks(["eye"])
    views: Panels = {"exemplar": demo_picture("cat")}
    for framing in ("stretch", "pad", "crop"):
        views[framing] = [graph.encode(loader, cat, framing=framing), 2]
    for background in ("keep", "gray"):
        encoded_eye = graph.encode(loader, cat, mask=eye, mask_background=background)
        views[f"mask, {background}"] = [encoded_eye, 2]

    cup = [coffee[0], 1]
    crops = {context: crop(graph, coffee, cup, context, 256) for context in (1.5, 3.0)}
    region = crop(graph, coffee, cup, 2.0, 64)
    conditioned = graph.masked(loader, encode, [region, 0], [region, 1])
    latent = graph.ksampler(loader, conditioned, [conditioned, 2], steps=10)
    repainted = [graph.add("VAEDecode", samples=[latent, 0], vae=[loader, 2]), 0]
    paste = graph.add(
        "ExemplarPasteBack", region=[region, 2], image=repainted, feather=0, match_color=True
    )

    eyes = graph.masks(["eyes"])
    parts = [graph.add("ExemplarSplitMask", mask=eyes, min_size=0.01), 0]
    batch = [graph.add("ImageBatch", image1=helmet, image2=truck), 0]
    two = graph.sample(loader, graph.encode(loader, batch), cat, parts, **PAINT, context=2.5)
    split: Panels = {"mask": to_image(graph, eyes)}
    for number, name in enumerate(("masks: 1st", "masks: 2nd")):
        picture = graph.add(
            "ImageFromBatch", image=to_image(graph, parts), batch_index=number, length=1
        )
        split[name] = [picture, 0]

    brush = graph.masks(["brush"])
    cleaned: Panels = {
        name: to_image(graph, prepared(graph, brush, **settings))
        for name, settings in (
            ("threshold 0.5", {}),
            ("fill_holes", {"fill_holes": True}),
            ("largest part", {"fill_holes": True, "keep": "largest part"}),
            ("grow 16", {"fill_holes": True, "keep": "largest part", "grow": 16}),
        )
    }

    graph.add(
        "SaveExemplar",
        positive=[encode, 0],
        negative=[encode, 1],
        view=[encode, 2],
        encoder=[loader, 1],
        filename_prefix="helmet",
    )
    return {
        "LoadExemplarModel": {
            **model_panels,
            "painted by model": [ours, 0],
            "image through vae": decoded,
        },
        "EncodeExemplar": views,
        "ExemplarInpaintSampler": {
            **model_panels,
            "region": [ours, 3],
            "mask": to_image(graph, [ours, 2]),
            "image": [ours, 0],
        },
        "ExemplarCropToMask": {
            "image and mask": mark_hole(demo_picture("coffee")),
            "context 1.5": [crops[1.5], 0],
            "mask": to_image(graph, [crops[1.5], 1]),
            "context 3": [crops[3.0], 0],
        },
        "ExemplarPasteBack": {
            "image and mask": mark_hole(demo_picture("coffee")),
            "painted region": repainted,
            "image": [paste, 0],
            "mask": to_image(graph, [paste, 1]),
        },
        "ExemplarReferenceSampler": {
            **model_panels,
            **{
                f"{algorithm}, {steps} steps": reference(graph, loader, encode, algorithm, steps)
                for algorithm in ("ddim", "plms")
                for steps in (5, 20)
            },
        },
        "ExemplarGuidance": {
            "image and mask": masked,
            **{
                f"{start:g} to {end:g}": guided(graph, loader, encode, start, end)
                for start, end in ((0.0, 1.0), (0.0, 0.5), (0.5, 1.0))
            },
        },
        "ExemplarSplitMask": {**split, "painted": [two, 0]},
        "ExemplarPrepareMask": {"mask": hasty_mask(), **cleaned},
        "SaveExemplar": {"exemplar": exemplar, "view, in the file": [encode, 2]},
        "LoadExemplar": {"painted after encoding": [ours, 0]},
    }


def loaded_panels(graph: Graph) -> Panels:
    """What comes of the file that the first graph saved."""
    loader = graph.load(MODEL)
    name = "helmet_00001_.safetensors [output]"
    load = graph.add("LoadExemplar", exemplar_name=name, encoder=[loader, 1])
    scene = graph.image("scene-1")
    painted = graph.sample(loader, load, scene, [scene[0], 1], **PAINT)
    return {"view": [load, 2], "painted after loading": [painted, 0]}


def crop(graph: Graph, image: Link, mask: Link, context: float, resolution: int) -> str:
    """The region around a mask."""
    settings = {"context": context, "resolution": resolution}
    return graph.add("ExemplarCropToMask", image=image, mask=mask, **settings)


def prepared(graph: Graph, mask: Link, **changes: object) -> Link:
    """A mask through Exemplar Prepare Mask."""
    settings = {"threshold": 0.5, "grow": 0, "fill_holes": False, "keep": "all parts"}
    return [graph.add("ExemplarPrepareMask", mask=mask, **{**settings, **changes}), 0]


def guided(graph: Graph, loader: str, encode: str, start: float, end: float) -> Link:
    """A painting with guidance in a part of the steps."""
    guidance = graph.add("ExemplarGuidance", model=[loader, 0], start=start, end=end)
    scene = graph.image("scene-1")
    mask: Link = [scene[0], 1]
    return [graph.sample(loader, encode, scene, mask, model=[guidance, 0], **PAINT), 0]


def reference(graph: Graph, loader: str, encode: str, algorithm: str, steps: int) -> Link:
    """The region of the first scene."""
    scene = graph.image("scene-1")
    region = crop(graph, scene, [scene[0], 1], 2.0, 64)
    conditioned = graph.masked(loader, encode, [region, 0], [region, 1])
    latent = graph.reference(
        loader,
        conditioned,
        [conditioned, 2],
        algorithm=algorithm,
        steps=steps,
        seed=PAINT["seed"],
        cfg=PAINT["cfg"],
    )
    return [graph.add("VAEDecode", samples=[latent, 0], vae=[loader, 2]), 0]


def to_image(graph: Graph, mask: Link) -> Link:
    """A mask as a picture."""
    return [graph.add("MaskToImage", mask=mask), 0]


def hasty_mask() -> Image.Image:
    """An outline that closes, specks beside it, blurred."""
    mask = Image.new("L", (256, 256))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((70, 60, 200, 210), outline=255, width=22)
    for x, y in ((30, 40), (225, 30), (36, 222)):
        draw.ellipse((x - 8, y - 8, x + 8, y + 8), fill=230)
    return mask.filter(ImageFilter.GaussianBlur(5))


def demo_picture(name: str) -> Image.Image:
    """One of the bundled pictures."""
    return Image.open(PICTURES / f"{name}.png")


def painted(host: Host, graph: Graph, wanted: dict[str, Panels]) -> dict[str, Pictures]:
    """Pictures in place of the links."""
    saved = {
        (page, name): graph.save_image(panel)
        for page, panels in wanted.items()
        for name, panel in panels.items()
        if not isinstance(panel, Image.Image)
    }
    run = Run(host, graph)
    return {
        page: {
            name: panel
            if isinstance(panel, Image.Image)
            else Image.fromarray(run.pictures(saved[page, name])[0])
            for name, panel in panels.items()
        }
        for page, panels in wanted.items()
    }


def main() -> None:
    """Write a JPEG beside each help page."""
    comfyui = tool_arguments(__doc__).parse_args().comfyui
    with tempfile.TemporaryDirectory() as folder, running_host(comfyui, Path(folder)) as host:
        host.upload_pictures()
        size = demo_picture("cat").size
        left, right = (130, 82, 212, 152), (288, 106, 348, 168)
        host.upload(ellipses(size, left), "eye.png")
        host.upload(ellipses(size, left, right), "eyes.png")
        host.upload(hasty_mask(), "brush.png")
        graph = Graph()
        result = painted(host, graph, pages(graph))
        graph = Graph()
        after = painted(host, graph, {"LoadExemplar": loaded_panels(graph)})["LoadExemplar"]
        view = after.pop("view")
        result["LoadExemplar"] = {"view": view, **result["LoadExemplar"], **after}
    for page, panels in result.items():
        captioned_row(panels, PANEL_HEIGHT).save(PAGES / f"{page}.jpg", quality=88)


if __name__ == "__main__":
    main()
