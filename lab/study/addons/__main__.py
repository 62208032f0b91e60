"""Do ControlNet, LoRA and upscaler change a picture of the shipped model in the expected way?

None that fits the shipped model exists, so this trains a small LoRA (what is painted becomes
black-and-white) and a small ControlNet (its picture says where it becomes light), writes down an
upscaler's weights, and paints with them in a running host by the workflows of the pack.
`nox -s addons` goes on where it stopped; it needs the pictures of `nox -s train_tiny`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track

from lab.arguments import tool_arguments
from lab.host.headless import Host, running_host
from lab.panels import captioned_grid
from lab.study.report import Section, markdown_table, write_report

from .measures import chroma, correlation, largest_change, sharpness
from .paint import install, paint_controlnet, paint_lora, paint_upscaled
from .pictures import CONTROLS, Pair, pairs
from .train import recipe, train_addons

STRENGTHS = (0.0, 0.5, 1.0)
SHOWN = 5
console = Console()


def main() -> None:
    """Train what is missing, paint, measure and draw."""
    parser = tool_arguments(__doc__, output="study/addons", model=True)
    parser.add_argument("--pictures", type=Path, default=Path(".tiny/pictures/train"))
    arguments = parser.parse_args()
    if not (arguments.pictures / "objects").is_dir():
        raise SystemExit(f"There is no {arguments.pictures}/objects; nox -s train_tiny makes it.")
    files = train_addons(recipe(arguments.model, arguments.pictures, arguments.output))
    with tempfile.TemporaryDirectory() as folder:
        install(files, Path(folder))
        with running_host(arguments.comfyui, Path(folder)) as host:
            sections = [study_lora(host), study_controlnet(host), study_upscaler(host)]
    for section in sections:
        console.print(f"{section.title}\n{section.text}")
        console.print(markdown_table(section.columns, section.rows), soft_wrap=True)
    write_report(arguments.output, sections, {"model": arguments.model.name})
    console.print(f"Report: {arguments.output / 'report.html'}", soft_wrap=True)


def study_lora(host: Host) -> Section:
    """The same paintings without the LoRA and at each strength."""
    columns: dict[str, Callable[[Pair], Image.Image]] = {
        "none": lambda c: paint_lora(host, c, None)
    }
    for strength in STRENGTHS:
        columns[f"strength {strength:g}"] = lambda c, s=strength: paint_lora(host, c, s)
    painted = paint_all(columns, "LoRA")
    rows = [
        [
            name,
            f"{np.mean([chroma(p, c.scene.hole) for p, c in zip(ps, pairs(), strict=True)]):.1f}",
            str(change(painted["none"], ps)),
        ]
        for name, ps in painted.items()
    ]
    return Section(
        "LoRA: what is painted becomes black-and-white",
        "Chroma: mean distance from gray of the painted area, in CIELAB. Change: largest to the "
        "picture without the LoRA, of 255.",
        ["LoRA", "chroma", "change"],
        rows,
        {"lora.png": draw(painted)},
    )


def study_controlnet(host: Host) -> Section:
    """The same paintings without the ControlNet, at strength 0, and steered by each picture."""
    columns: dict[str, Callable[[Pair], Image.Image]] = {
        "none": lambda c: paint_controlnet(host, c, c.control(CONTROLS[0]), None),
        "strength 0": lambda c: paint_controlnet(host, c, c.control(CONTROLS[0]), 0.0),
    }
    for shape in CONTROLS:
        columns[f"control: {shape}"] = lambda c, s=shape: c.control(s)
        columns[shape] = lambda c, s=shape: paint_controlnet(host, c, c.control(s), 1.0)
    painted = paint_all(columns, "ControlNet")
    rows = [
        [
            name,
            *(f"{np.mean(list(map(follows(shape), pictures, pairs()))):.2f}" for shape in CONTROLS),
            str(change(painted["none"], pictures)),
        ]
        for name, pictures in painted.items()
        if not name.startswith("control")
    ]
    return Section(
        "ControlNet: light where its picture is light",
        "Correlation of the light in the painted area with that of each control picture. Change: "
        "largest to the picture without the ControlNet, of 255.",
        ["ControlNet", *CONTROLS, "change"],
        rows,
        {"controlnet.png": draw(painted)},
    )


def follows(shape: str) -> Callable[[Image.Image, Pair], float]:
    """How well a painting follows a control picture."""
    return lambda picture, pair: correlation(picture, pair.control(shape), pair.scene.hole)


def study_upscaler(host: Host) -> Section:
    """The region enlarged by the upscaler, besides its plain enlargement."""
    exemplar = pairs()[0].exemplar
    plain, with_upscaler, before, behind = paint_upscaled(host, exemplar)
    enlarged = before.resize(behind.size, Image.Resampling.BILINEAR)
    whole = (0, 0, *behind.size)
    rows = [
        [name, f"{each.width}x{each.height}", f"{sharpness(each, whole):.2f}"]
        for name, each in (("enlarged plainly", enlarged), ("by the upscaler", behind))
    ]
    captions = ["region, plain", "region, upscaler", "pasted, plain", "pasted, upscaler"]
    pasted = [ImageOps.fit(each, behind.size) for each in (plain, with_upscaler)]
    return Section(
        "Upscaler: sharper and larger",
        f"The painted region, {before.width}x{before.height}, enlarged. Sharpness: mean difference "
        "in light between neighboring pixels, of 255.",
        ["", "size", "sharpness"],
        rows,
        {
            "upscaler.png": captioned_grid(
                captions, [[enlarged, behind, *pasted]], cell=behind.width
            )
        },
    )


def paint_all(
    columns: dict[str, Callable[[Pair], Image.Image]], title: str
) -> dict[str, list[Image.Image]]:
    """Every pair in every way."""
    return {
        name: [paint(pair) for pair in pairs()]
        for name, paint in track(columns.items(), title, console=console)
    }


def change(before: list[Image.Image], after: list[Image.Image]) -> int:
    """Largest over all pairs."""
    return max(map(largest_change, before, after))


def draw(painted: dict[str, list[Image.Image]]) -> Image.Image:
    """The first pairs, scene and exemplar first."""
    rows = [
        [
            pair.scene.with_hole.convert("RGB"),
            pair.exemplar,
            *(pictures[n] for pictures in painted.values()),
        ]
        for n, pair in enumerate(pairs()[:SHOWN])
    ]
    return captioned_grid(["scene", "exemplar", *painted], rows)


if __name__ == "__main__":
    main()
