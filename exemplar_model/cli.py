"""The command line: `python -m exemplar_model COMMAND`. Needs typer and rich."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
errors = Console(stderr=True)

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
    from .training.config import load_config
    from .training.engine import train as run

    model = run(load_config(config, overrides or ()))
    if model is not None and is_main_process():
        typer.echo(f"Trained: {model}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="folder of a run, or one of its checkpoints")],
    target: Annotated[Path, typer.Argument(help="safetensors file to write")],
    dtype: Annotated[str, typer.Option(help="fp16 or fp32")] = "fp16",
) -> None:
    """Write the model of any checkpoint as one file, which Load Exemplar Model opens."""
    from .training.engine import export_checkpoint

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
    from .training.config import load_config
    from .training.encoded import encode_samples as encode
    from .training.sources import open_dataset

    loaded = load_config(config, overrides or ())
    encode(loaded, open_dataset(loaded, loaded.data), folder)
    if is_main_process():
        typer.echo(f"Encoded: {folder}")


def is_main_process() -> bool:
    """Whether this is the first process of a torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def main() -> None:
    """Run a command; what a user can mend is told in one sentence, without a traceback."""
    from .checkpoint import CheckpointError
    from .training.config import ConfigError

    try:
        app()
    except (CheckpointError, ConfigError) as error:
        if is_main_process():
            errors.print(f"[red]{error}[/]", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
