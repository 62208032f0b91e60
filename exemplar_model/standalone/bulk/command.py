"""The command `paint`; what it needs is imported when it runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from .run import Options, Outcome
    from .table import Table


def paint(
    table: Annotated[str, typer.Argument(help=".csv or .parquet; a path or a URL")],
    model: Annotated[Path, typer.Option(help="model to paint with, file or folder")],
    out: Annotated[
        Path, typer.Option(help="folder for the pictures; an earlier run there goes on")
    ],
    dry_run: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="paint N rows, and tell what all would take"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="processes; one per GPU, or per four cores")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="of the CPU per worker; an equal share")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="pictures painted together")] = 4,
    dtype: Annotated[
        Literal["fp32", "fp16", "bf16"], typer.Option(help="of the weights; fp16 on a GPU")
    ] = "fp32",
    max_seam: Annotated[
        float, typer.Option(help="false gradient around the mask, of 255, to review from")
    ] = 20.0,
    min_likeness: Annotated[
        float, typer.Option(help="cosine of CLIP class tokens, to review below")
    ] = 0.2,
    seed: Annotated[str, typer.Option(help="for empty cells, as all that follow; 0")] = "",
    steps: Annotated[str, typer.Option(help="sampling steps; 50")] = "",
    cfg: Annotated[str, typer.Option(help="guidance scale; 5")] = "",
    sampler: Annotated[str, typer.Option(help="plms or ddim; plms")] = "",
    context: Annotated[
        str, typer.Option(help="size of the region relative to the mask, or whole; 2")
    ] = "",
    resolution: Annotated[str, typer.Option(help="side of a square region; 512")] = "",
    feather: Annotated[str, typer.Option(help="ramp outside the mask, in pixels; 0")] = "",
    match_color: Annotated[str, typer.Option(help="true or false; true")] = "",
    address: Annotated[str | None, typer.Option(envvar="RAY_ADDRESS", hidden=True)] = None,
) -> None:
    """Paint every row of a table; run it again to go on where it stopped.

    The table has columns id, image, mask and exemplar; optional are exemplar_mask, seed, steps,
    cfg, sampler, context, resolution, feather and match_color. Paths are relative to the table, or
    anything that fsspec opens. RAY_ADDRESS names a Ray cluster to use instead of this machine.
    """
    from .errors import BulkError, RowError
    from .review import Gates
    from .rows import Settings
    from .run import Options, paint_table
    from .table import read_table

    given = {
        "seed": seed,
        "steps": steps,
        "cfg": cfg,
        "sampler": sampler,
        "context": context,
        "resolution": resolution,
        "feather": feather,
        "match_color": match_color,
    }
    try:
        defaults = Settings.read(given, Settings())
    except RowError as error:
        raise BulkError(f"Of the options, {error}") from error
    gates = Gates(max_seam, min_likeness)
    options = Options(model, dtype, batch, workers, threads, address, defaults, gates)
    rows = read_table(table)
    if address:  # Ray tries for minutes if nobody answers
        typer.echo(f"Joining the Ray cluster at {address}, which RAY_ADDRESS names.", err=True)
    if dry_run is None:
        tell(paint_table(rows, out, options), rows, options)
        return
    out = out.with_name(f"{out.name}-dry-run")
    if (out / "run.json").exists():  # of a dry run before; nothing else is deleted
        shutil.rmtree(out)
    outcome = paint_table(rows.spread(dry_run), out, options)
    tell(outcome, rows.spread(dry_run), options)
    if outcome.costs.painted:
        typer.echo(outcome.costs.forecast(len(rows), outcome.workers))


def tell(outcome: Outcome, table: Table, options: Options) -> None:
    """Say what became of the rows, and where to look."""
    out, ids = outcome.journal.out, set(table.ids)
    records = [each for each in outcome.journal.records.values() if each.id in ids]
    typer.echo(f"{len(records):,} of {len(table):,} rows are painted, in {out}.")
    if outcome.costs.painted:
        typer.echo(outcome.costs.describe())
    if outcome.failures:
        typer.echo(f"{len(outcome.failures):,} rows failed; {out / 'failed.csv'} says why.")
    if len(records) > 1:
        low, middle, _ = quantiles([each.likeness for each in records], n=10)[::4]
        high = quantiles([each.seam for each in records], n=10)[-1]
        typer.echo(
            f"Likeness: median {middle:.2f}, lowest tenth up to {low:.2f}; seam: highest tenth "
            f"from {high:.1f}."
        )
    if flagged := options.gates.flagged(records):
        typer.echo(
            f"{len(flagged):,} pictures should be looked at; {out / 'review.csv'} lists them, "
            f"{out / 'review.jpg'} shows some."
        )
