"""Paint an exemplar into a picture in a headless ComfyUI host and write a side-by-side PNG."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lab import PACK
from lab.arguments import tool_arguments
from lab.host.headless import PICTURES, Host, running_host
from lab.panels import captioned_row, mark_hole, stacked

from .choose import PAIRS

WORKFLOW = PACK / "tests" / "api" / "basic.json"
PANEL_HEIGHT = 320
console = Console()


def main() -> None:
    """Run the demo."""
    parser = tool_arguments(__doc__, output="demo")
    parser.add_argument("--image", type=Path, help="transparent where it is to be repainted")
    parser.add_argument("--exemplar", type=Path, help="picture of the object")
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    if (arguments.image is None) != (arguments.exemplar is None):
        parser.error("--image and --exemplar belong together.")
    pairs = [(arguments.image, arguments.exemplar)]
    if arguments.image is None:
        pairs = [
            (PICTURES / f"scene-{number}.png", PICTURES / f"exemplar-{number}.png")
            for number in range(1, PAIRS + 1)
        ]

    folder: Path = arguments.output / "host"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    prompt = json.loads(WORKFLOW.read_text())
    prompt[node_of(prompt, "ExemplarInpaintSampler")]["inputs"]["steps"] = arguments.steps
    target: Path = arguments.output / "side-by-side.png"
    rows: list[Image.Image] = []
    status = console.status("Starting ComfyUI…")
    with status, running_host(arguments.comfyui, folder) as host:
        status.stop()
        for image, exemplar in pairs:
            host.upload(image, "scene-1.png")
            host.upload(exemplar, "exemplar-1.png")
            outputs = paint(host, prompt)
            result = host.output(outputs[node_of(prompt, "SaveImage")]["images"][0])
            rows.append(side_by_side(*(Image.open(path) for path in (image, exemplar, result))))
        stacked(rows).save(target)
    console.print("Side by side (image, mask, exemplar, result):")
    console.print(str(target), soft_wrap=True)


def side_by_side(image: Image.Image, exemplar: Image.Image, result: Image.Image) -> Image.Image:
    """Four panels.

    Args:
        image: RGBA, transparent where it is to be repainted.
        exemplar: the example picture.
        result: the painted picture.
    """
    panels = {"image": image, "mask": mark_hole(image), "exemplar": exemplar, "result": result}
    return captioned_row(panels, PANEL_HEIGHT)


def node_of(prompt: dict[str, Any], class_type: str) -> str:
    """Id of the only node of a class."""
    (node,) = (id_ for id_, node in prompt.items() if node["class_type"] == class_type)
    return node


def paint(host: Host, prompt: dict[str, Any]) -> dict[str, Any]:
    """Run the prompt with a progress bar that follows the host's events."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("Queued", total=None)

        def on_event(kind: str, data: dict[str, Any]) -> None:
            if kind == "executing" and data["node"] is not None:
                name = prompt[data["node"]]["class_type"]
                bar.reset(task, description=name, total=None)
            elif kind == "progress":
                bar.update(task, completed=data["value"], total=data["max"])

        outputs = host.run(prompt, on_event)
        bar.update(task, description="Done", completed=1, total=1)
    return outputs


if __name__ == "__main__":
    main()
