"""Run the workflows with the bundled model and write their thumbnails.

ControlNet, LoRA and upscaler are bypassed, as none that fits the bundled model comes with the pack.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from lab.arguments import tool_arguments
from lab.host.headless import PACK, PICTURES, Host, running_host
from lab.panels import mark_hole

WORKFLOWS = {path.stem: path for path in sorted((PACK / "tests" / "api").glob("*.json"))}
BYPASSED = {
    "ControlNetApplyAdvanced": ("positive", "negative"),
    "CLIPTextEncodeControlnet": ("conditioning",),
    "LoraLoaderModelOnly": ("model",),
    "ImageUpscaleWithModel": ("image",),
}
"""Which input stands for each output of a node that is left out."""
SIDE, RESULT, GAP = 384, 256, 8
BACKGROUND = "#222222"

Prompt = dict[str, dict[str, Any]]


def main() -> None:
    """Write a thumbnail beside each workflow, or beside those that are named."""
    parser = tool_arguments(__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="all if none is given")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_host(arguments.comfyui, Path(folder)) as host,
    ):
        host.upload_pictures()
        for name in arguments.names or WORKFLOWS:
            prompt = without_add_ons(json.loads(WORKFLOWS[name].read_text()))
            outputs = host.run(prompt)
            picture = thumbnail(list(inputs(host, prompt, outputs)), results(host, prompt, outputs))
            target = PACK / "example_workflows" / f"paint-by-example-{name}.jpg"
            picture.save(target, quality=85, optimize=True)


def without_add_ons(prompt: Prompt) -> Prompt:
    """The graph with the nodes of `BYPASSED` bypassed; the host ignores what nothing leads to."""

    def source(link: list[Any]) -> list[Any]:
        node = prompt[link[0]]
        if node["class_type"] not in BYPASSED:
            return link
        return source(node["inputs"][BYPASSED[node["class_type"]][link[1]]])

    return {
        id_: node
        | {
            "inputs": {
                name: source(value) if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
        }
        for id_, node in prompt.items()
    }


def inputs(host: Host, prompt: Prompt, outputs: dict[str, Any]) -> Iterator[Image.Image]:
    """Pictures to edit with their mask, the exemplars, and a ControlNet's hint."""
    loaded = [
        Image.open(PICTURES / node["inputs"]["image"])
        for node in prompt.values()
        if node["class_type"] == "LoadImage"
    ]
    yield from (mark_hole(picture) for picture in loaded if picture.mode == "RGBA")
    yield from (picture.convert("RGB") for picture in loaded if picture.mode != "RGBA")
    hints = any(node["class_type"] == "ControlNetLoader" for node in prompt.values())
    yield from shown(host, prompt, outputs, "LoadExemplar", *(["PreviewImage"] if hints else []))


def results(host: Host, prompt: Prompt, outputs: dict[str, Any]) -> list[Image.Image]:
    """The picture that was saved, or the frames where a video was."""
    saved = list(shown(host, prompt, outputs, "SaveImage"))
    return saved or list(shown(host, prompt, outputs, "PreviewImage"))


def shown(
    host: Host, prompt: Prompt, outputs: dict[str, Any], *types: str
) -> Iterator[Image.Image]:
    """Pictures that nodes of these types show."""
    for id_, output in outputs.items():
        if prompt[id_]["class_type"] in types:
            yield from (Image.open(host.output(each)).convert("RGB") for each in output["images"])


def thumbnail(small: list[Image.Image], large: list[Image.Image]) -> Image.Image:
    """A square, as ComfyUI's template browser shows it: results above, inputs below."""
    square = Image.new("RGB", (SIDE, SIDE), BACKGROUND)
    rows = 1 if len(large) == 1 else 2
    columns = -(-len(large) // rows)
    place(square, large, (0, 0, SIDE, RESULT), rows, columns)
    place(square, small, (GAP, RESULT + GAP, SIDE - GAP, SIDE - GAP), 1, len(small))
    return square


def place(
    canvas: Image.Image,
    pictures: list[Image.Image],
    area: tuple[int, int, int, int],
    rows: int,
    columns: int,
) -> None:
    """Draw pictures into the cells of an area (left, top, right, bottom), as large as they fit."""
    left, top, right, bottom = area
    width, height = (right - left) // columns, (bottom - top) // rows
    for number, picture in enumerate(pictures):
        scaled = ImageOps.contain(picture, (width, height), Image.Resampling.LANCZOS)
        x = left + number % columns * width + (width - scaled.width) // 2
        y = top + number // columns * height + (height - scaled.height) // 2
        canvas.paste(scaled, (x, y))


if __name__ == "__main__":
    main()
