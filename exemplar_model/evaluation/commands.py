"""Commands of evaluation: `evaluate check`, `run`, `score`, `fit-mixture`, `convert-mixture`.

What they need is imported when they run, so that other commands work without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from .scoring import ScoringConfig

SetName = Annotated[str, typer.Argument(metavar="SET", help="cocoee, tf-icon or folder")]
Folder = Annotated[Path, typer.Argument(help="of the set")]
Out = Annotated[Path, typer.Option(help="folder for the report")]
Clip = Annotated[Path | None, typer.Option(help="folder of openai/clip-vit-base-patch32")]
Dino = Annotated[Path | None, typer.Option(help="folder of facebook/dino-vits16")]
Inception = Annotated[Path | None, typer.Option(help="Inception weights of torch-fidelity")]
LpipsFile = Annotated[Path | None, typer.Option(help="torchvision's VGG16 or AlexNet weights")]
MixtureFile = Annotated[Path | None, typer.Option(help="of fit-mixture or convert-mixture")]
Real = Annotated[Path | None, typer.Option(help="folder of real pictures, for Fréchet distances")]
Remainder = Annotated[
    bool, typer.Option("--drop-remainder", help="QS of whole batches of 50 alone, as the reference")
]
Unclipped = Annotated[bool, typer.Option("--unclipped", help="QS beyond 0…100 as it is")]
Device = Annotated[str, typer.Option(help="of model and backbones, such as cuda")]


def application() -> typer.Typer:
    """The commands, as one of another command line."""
    commands = typer.Typer(no_args_is_help=True, add_completion=False)
    for command in (check, run, score, fit_mixture, convert_mixture):
        commands.command()(command)
    return commands


def check(set_name: SetName, folder: Folder) -> None:
    """List what of a set is missing, and where it comes from."""
    from .sets import layout_of

    layout = layout_of(set_name)
    items = layout.items(folder)
    missing = [file for item in items for file in item.missing()]
    for file in missing:
        typer.echo(f"Missing: {file}")
    typer.echo(f"{len(items)} pictures, {len(missing)} files missing.")
    if missing:
        typer.echo(f"To complete it, {layout.source}", err=True)
        raise typer.Exit(1)


def run(
    set_name: SetName,
    folder: Folder,
    model: Annotated[Path, typer.Option(help="checkpoint or diffusers folder")],
    out: Out,
    protocol: Annotated[
        Literal["paper", "default"],
        typer.Option(help="paper: whole picture, soft mask, posterior sample, nothing pasted back"),
    ] = "default",
    seed: Annotated[
        list[int] | None, typer.Option(help="repeat for several; 42 if left out")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="of PLMS")] = 50,
    cfg: Annotated[float, typer.Option(help="guidance scale")] = 5.0,
    resolution: Annotated[int, typer.Option(help="of a region, in the default protocol")] = 512,
    clip: Clip = None,
    dino: Dino = None,
    inception: Inception = None,
    lpips: LpipsFile = None,
    mixture: MixtureFile = None,
    real: Real = None,
    drop_remainder: Remainder = False,
    unclipped: Unclipped = False,
    device: Device = "cpu",
) -> None:
    """Paint a set, and score it beside the baselines; goes on where it stopped."""
    from ..standalone.components import Components
    from ..weights.checkpoint import read_checkpoint
    from .backbones import fingerprint
    from .painting import EvaluatedModel
    from .running import evaluate, paint_set
    from .sets import open_set

    items = open_set(set_name, folder)
    # first, so that a missing file is told before hours of painting
    config = _scoring_config(
        clip, dino, inception, lpips, mixture, real, drop_remainder, unclipped, device
    )
    components = Components.from_checkpoint(read_checkpoint(model), device)
    seeds = seed or [42]
    settings = {
        "set": set_name,
        "model": f"{model.name}, {fingerprint(components.unet)}",
        "protocol": protocol,
        "steps": str(steps),
        "guidance scale": f"{cfg:g}",
        **({"resolution": str(resolution)} if protocol == "default" else {}),
    }
    painted = [
        paint_set(
            name,
            EvaluatedModel(components, protocol, steps, scale, resolution),
            items,
            drawn,
            out,
            settings,
            typer.echo,
        )
        for name, scale, drawn in ((model.stem, cfg, seeds), ("null exemplar", 0.0, seeds[:1]))
    ]
    typer.echo(f"Report: {evaluate(painted, items, config, out, settings)}")


def score(
    set_name: SetName,
    folder: Folder,
    results: Annotated[
        list[Path], typer.Argument(help="folders of ID.png, one per seed of the same method")
    ],
    out: Out,
    name: Annotated[str, typer.Option(help="of the method, in the table")] = "results",
    clip: Clip = None,
    dino: Dino = None,
    inception: Inception = None,
    lpips: LpipsFile = None,
    mixture: MixtureFile = None,
    real: Real = None,
    drop_remainder: Remainder = False,
    unclipped: Unclipped = False,
    device: Device = "cpu",
) -> None:
    """Score results that are painted already, of whatever method, beside the baselines."""
    from .running import evaluate
    from .scoring import Method
    from .sets import open_set

    items = open_set(set_name, folder)
    config = _scoring_config(
        clip, dino, inception, lpips, mixture, real, drop_remainder, unclipped, device
    )
    typer.echo(
        f"Report: {evaluate([Method(name, results)], items, config, out, {'set': set_name})}"
    )


def fit_mixture(
    pictures: Annotated[Path, typer.Argument(help="folder of real pictures")],
    target: Annotated[Path, typer.Argument(help="*.safetensors file to write")],
    clip: Annotated[Path, typer.Option(help="folder of openai/clip-vit-base-patch32")],
    components: Annotated[int, typer.Option(min=1, help="of the mixture")] = 20,
    seed: Annotated[int, typer.Option(help="of the start")] = 0,
    device: Device = "cpu",
) -> None:
    """Fit the mixture of QS to real pictures; the score is then called QS (refit)."""
    from .backbones import load_clip
    from .quality import fit_mixture as fit
    from .scoring import real_features

    backbone = load_clip(clip, device)
    features = real_features(pictures, [backbone])[backbone.name]
    fitted_on = f"{len(features)} pictures of {pictures.name}, seed {seed}, {backbone.name}"
    fit(features, fitted_on, components, seed).save(target)
    typer.echo(f"Mixture: {target}")


def convert_mixture(
    pickled: Annotated[Path, typer.Argument(help="the authors' coco2017_gmm_k20")],
    target: Annotated[Path, typer.Argument(help="*.safetensors file to write")],
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="you know where the pickle comes from")
    ] = False,
) -> None:
    """Write the authors' pickled mixture as safetensors, for QS as published."""
    from .quality import convert_mixture as convert

    convert(pickled, target, trust_pickle)
    typer.echo(f"Mixture: {target}")


def _scoring_config(
    clip: Path | None,
    dino: Path | None,
    inception: Path | None,
    lpips: Path | None,
    mixture: Path | None,
    real: Path | None,
    drop_remainder: bool,
    unclipped: bool,
    device: str,
) -> ScoringConfig:
    from .backbones import load_clip, load_dino, load_inception, load_lpips
    from .quality import load_mixture
    from .scoring import ScoringConfig, real_features

    clip_backbone = load_clip(clip, device) if clip else None
    network = load_inception(inception, device) if inception else None
    compared = [each for each in (clip_backbone, network) if each]
    return ScoringConfig(
        clip=clip_backbone,
        dino=load_dino(dino, device) if dino else None,
        inception=network,
        lpips=load_lpips(lpips, device) if lpips else None,
        mixture=load_mixture(mixture) if mixture else None,
        clip_qs=not unclipped,
        drop_remainder=drop_remainder,
        real=real_features(real, compared) if real and compared else None,
        device=device,
    )
