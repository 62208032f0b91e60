"""The command line: `python -m exemplar_model COMMAND`. Needs typer and rich."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Tells what a user can mend in one sentence, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; exit code 1 after such a sentence."""
        try:
            return super().invoke(ctx)
        except (ValueError, RuntimeError, PermissionError) as error:
            if not _is_for_users(error):
                raise
            if is_main_process():
                # a worker process adds its traceback before the sentence
                sentence = str(error).rsplit("DataError: ", 1)[-1].strip()
                Console(stderr=True, soft_wrap=True).print(Text(sentence, "red"))
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=__doc__,
)

Config = Annotated[str, typer.Argument(help="YAML file, or a shipped one, such as smoke")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="key=value, such as steps=20 or data.samples=64")
]


@app.callback()
def program() -> None:
    """Train Paint by Example, and look into, convert and check its files."""


@app.command()
def train(config: Config, overrides: Overrides = None) -> None:
    """Train, or go on where the same command stopped; also under torchrun.

    Ctrl-C and SIGTERM save a checkpoint first. The end leaves OUT/model.safetensors.
    """
    from ..training.config import load_config
    from ..training.engine import train as run

    model = run(load_config(config, overrides or ()))
    if model is not None and is_main_process():
        typer.echo(f"Trained: {model}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="folder of a run, or one of its checkpoints")],
    target: Annotated[Path, typer.Argument(help="safetensors file to write")],
    dtype: Annotated[Literal["fp16", "fp32"], typer.Option(help="of all tensors")] = "fp16",
) -> None:
    """Write the model of any checkpoint as one file, which Load Exemplar Model opens."""
    from ..training.export import export_checkpoint

    export_checkpoint(run, target, dtype)
    typer.echo(f"Exported: {target}")


@app.command()
def encode_samples(
    config: Config,
    folder: Annotated[Path, typer.Argument(help="where the encoded samples go")],
    overrides: Overrides = None,
) -> None:
    """Put a fixed set of samples through autoencoder and tower once, for `data.kind: encoded`.

    Goes on where it stopped; under torchrun the processes share the work.
    """
    from ..training.config import load_config
    from ..training.data.encoded import encode_samples as encode
    from ..training.data.sources import open_dataset

    loaded = load_config(config, overrides or ())
    encode(loaded, open_dataset(loaded, loaded.data), folder)
    if is_main_process():
        typer.echo(f"Encoded: {folder}")


@app.command()
def contact_sheet(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="PNG file to write")] = Path("contact-sheet.png"),
    rows: Annotated[int, typer.Option(min=1, help="samples to show")] = 16,
) -> None:
    """Draw what the model will see: the first training samples, after augmentation."""
    from ..training.config import load_config
    from ..training.data.contact_sheet import contact_sheet as draw

    sheet, skipped = draw(load_config(config, overrides or ()), rows)
    sheet.save(out, "PNG")
    for reason in skipped:
        typer.echo(f"Left out: {reason}", err=True)
    typer.echo(str(out))


@app.command()
def write_shards(
    config: Config,
    folder: Annotated[Path, typer.Argument(help="where the shards go")],
    overrides: Overrides = None,
    per_shard: Annotated[int, typer.Option(min=1, help="pictures in a shard")] = 4000,
) -> None:
    """Copy the pictures of a configuration, shuffled, into tar shards for streaming.

    Goes on where it stopped. Train on them with data.kind: shards.
    """
    from ..training.config import ConfigError, load_config
    from ..training.data.shards import Coco, OpenImages, write_shards
    from ..training.data.sources import open_source

    loaded = load_config(config, overrides or ())
    source = open_source(loaded.data)
    if not isinstance(source, OpenImages | Coco):
        raise ConfigError(f"Data of kind {loaded.data.kind} is no set of files to put into shards.")
    skipped = write_shards(source, folder, per_shard=per_shard, seed=loaded.seed)
    for reason in skipped:
        typer.echo(f"Left out: {reason}", err=True)
    typer.echo(f"Shards: {folder}")


@app.command()
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
        Path | None, typer.Option(help="file whose UNet replaces the source's, as of ModelSave")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an existing target")] = False,
) -> None:
    """Write a model in another layout, and compare what was written bit by bit.

    The original layout is one safetensors file, the diffusers layout a folder.
    """
    import torch

    from .convert import convert as run

    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    done = run(source, target, layout=to, dtype=dtypes.get(dtype), unet=unet, force=force)
    typer.echo(f"{target}: {done.layout} layout, {done.tensors} tensors equal their source.")
    for note in done.notes:
        typer.echo(f"Note: {note}", err=True)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="FILE_OR_FOLDER", help="model or part of one")],
) -> None:
    """Tell what a file or folder is: layout, parts, sizes, metadata; loads no weights."""
    from .inspection import describe, inspect_model

    found = inspect_model(path)
    console = Console()
    console.print(describe(path, found))
    if found.problem:
        console.print(Text(f"No model to paint with: {found.problem}", "yellow"), soft_wrap=True)


def is_main_process() -> bool:
    """Whether this is the first process of a torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _is_for_users(error: Exception) -> bool:
    from ..training.config import ConfigError
    from ..training.data.pictures import DataError
    from ..weights.checkpoint import CheckpointError

    return isinstance(error, (CheckpointError, ConfigError, DataError, PermissionError))


def main() -> None:
    """Run a command."""
    app(prog_name="python -m exemplar_model")
