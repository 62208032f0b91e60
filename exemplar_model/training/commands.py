"""Commands of training.

What they need is imported when they run, so that other commands work without the extra `train`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Config = Annotated[str, typer.Argument(help="YAML file, or a shipped one, such as smoke")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="key=value, such as steps=20 or data.samples=64")
]
Rank = Annotated[int, typer.Option(envvar="RANK", hidden=True)]
"""Number of this process where torchrun started several."""


def train(config: Config, overrides: Overrides = None, rank: Rank = 0) -> None:
    """Train, or continue where the same command stopped; also under torchrun.

    Ctrl-C and SIGTERM save a checkpoint first. A finished run leaves OUT/model.safetensors.
    """
    from .config import load_config
    from .engine import train as run

    model = run(load_config(config, overrides or ()))
    if model is not None and rank == 0:
        typer.echo(f"Trained: {model}")


def export(
    run: Annotated[Path, typer.Argument(help="folder of a run, or one of its checkpoints")],
    target: Annotated[Path, typer.Argument(help="safetensors file to write")],
    dtype: Annotated[Literal["fp16", "fp32"], typer.Option(help="of the tensors")] = "fp16",
) -> None:
    """Write the model of any checkpoint as one file, which Load Exemplar Model opens."""
    from .export import export_checkpoint

    export_checkpoint(run, target, dtype)
    typer.echo(f"Exported: {target}")


def encode_samples(
    config: Config,
    folder: Annotated[Path, typer.Argument(help="where the encoded samples go")],
    overrides: Overrides = None,
    rank: Rank = 0,
) -> None:
    """Put a fixed set of samples through autoencoder and vision tower once, for faster training.

    Train on them with data.kind: encoded. Continues where it stopped; under torchrun the processes
    share the work.
    """
    from .config import load_config
    from .data.open import open_dataset
    from .encode import encode_samples as encode

    loaded = load_config(config, overrides or ())
    encode(loaded, open_dataset(loaded, loaded.data), folder)
    if rank == 0:
        typer.echo(f"Encoded: {folder}")


def contact_sheet(
    config: Config,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="PNG file to write")] = Path("contact-sheet.png"),
    rows: Annotated[int, typer.Option(min=1, help="samples to show")] = 16,
) -> None:
    """Draw the first training samples, after augmentation, as the model will see them."""
    from .config import load_config
    from .data.contact_sheet import contact_sheet as draw

    sheet, skipped = draw(load_config(config, overrides or ()), rows)
    sheet.save(out, "PNG")
    for reason in skipped:
        typer.echo(f"Left out: {reason}", err=True)
    typer.echo(str(out))


def write_shards(
    config: Config,
    folder: Annotated[Path, typer.Argument(help="where the shards go")],
    overrides: Overrides = None,
    per_shard: Annotated[int, typer.Option(min=1, help="pictures in a shard")] = 4000,
) -> None:
    """Copy the pictures of a configuration, shuffled, into tar shards for streaming.

    Continues where it stopped. Train on them with data.kind: shards.
    """
    from .config import load_config
    from .data.open import open_source
    from .data.shards import Coco, OpenImages
    from .data.shards import write_shards as write
    from .section import ConfigError

    loaded = load_config(config, overrides or ())
    source = open_source(loaded.data)
    if not isinstance(source, OpenImages | Coco):
        raise ConfigError(
            f"data.kind is {loaded.data.kind}, but shards are written from picture files; name "
            "data of kind openimages or coco."
        )
    skipped = write(source, folder, per_shard=per_shard, seed=loaded.seed)
    for reason in skipped:
        typer.echo(f"Left out: {reason}", err=True)
    typer.echo(f"Shards: {folder}")
