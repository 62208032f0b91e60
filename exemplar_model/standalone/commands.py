"""Commands on model files: convert and inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console
from rich.text import Text

from . import convert as conversion
from . import inspection


def convert(
    source: Annotated[Path, typer.Argument(help=".ckpt, .safetensors or diffusers folder")],
    target: Annotated[Path, typer.Argument(help="*.safetensors file, or a folder to make")],
    to: Annotated[
        Literal["original", "diffusers"] | None,
        typer.Option(help="layout; follows from the target's name if left out"),
    ] = None,
    dtype: Annotated[
        Literal["keep", "fp32", "fp16", "bf16"], typer.Option(help="of all tensors")
    ] = "keep",
    unet: Annotated[
        Path | None,
        typer.Option(help="model whose UNet replaces the source's, such as a file of ModelSave"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an existing target")] = False,
) -> None:
    """Write a model in another layout, and compare what was written bit by bit.

    The original layout is one safetensors file, the diffusers layout a folder.
    """
    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    done = conversion.convert(
        source, target, layout=to, dtype=dtypes.get(dtype), unet=unet, force=force
    )
    typer.echo(f"{target}: {done.layout} layout, {done.tensors} tensors equal their source.")
    for note in done.notes:
        typer.echo(f"Note: {note}", err=True)


def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="FILE_OR_FOLDER", help="a model, or a component of one")
    ],
) -> None:
    """Tell what a file or folder is: layout, components, sizes, metadata; loads no weights."""
    found = inspection.inspect_model(path)
    console = Console()
    console.print(inspection.describe(path, found))
    if found.problem:
        console.print(Text(f"No model to paint with: {found.problem}", "yellow"), soft_wrap=True)
