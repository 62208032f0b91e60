"""Does it help to let the hole attend to the exemplar's own features? A method tried, not shipped.

Paint by Example sees its exemplar as a single token. Here, before each evaluation, the exemplar's
own latents, noised to the level of the sample, pass through the same UNet as a picture without a
hole; the keys and values of its self-attention are then offered to the positions in the hole,
besides their own. Nothing is trained. `python -m study.detail --comfyui FOLDER` prints the table.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from exemplar_model.image import resize_image

from .likeness import color_difference, grid_difference, rank_of, token_likeness
from .painter import Painter
from .report import Section, markdown_table, sheet, to_image, write_report
from .solver_results import Task

TASK = Task("dpmpp_2m", "karras", 25, 3.5)
SEEDS = (0, 1)
NOISE_SEED = 1000
"""Of the exemplar's noise, the same at all steps."""
SHOWN = 6
console = Console()


@dataclass(frozen=True)
class Offer:
    """How the exemplar's keys and values are offered.

    Attributes:
        strength: weight of an added key beside an own one; with `blend`, the share in [0, 1] of
            attention to the exemplar alone in the output.
        layers: all of them, those of the largest resolution, or those of the output blocks.
        start, end: interval of the schedule, 0 = noisiest, 1 = clean.
        conditional: offer them to the conditional half of guidance alone, instead of both.
        blend: mix two attention outputs instead of adding keys.
        side: of the exemplar's picture, in pixels; None is the side of the region.
        wrong: offer another object's features, to see that it matters whose they are.
    """

    strength: float
    layers: Literal["all", "largest", "output"] = "all"
    start: float = 0.0
    end: float = 1.0
    conditional: bool = False
    blend: bool = False
    side: int | None = None
    wrong: bool = False


def with_detail(painter: Painter, offer: Offer) -> Any:
    """A clone of the painter's MODEL that offers the exemplars' features to the holes."""
    side = offer.side or painter.resolution
    order = np.roll(np.arange(len(painter.exemplars)), int(offer.wrong))
    with torch.inference_mode():
        pictures = [resize_image(painter.exemplars[n][None], (side, side)) for n in order]
        latents = painter.model.model.process_latent_in(painter.vae.encode(torch.cat(pictures)))
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
        no_hole = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1)
        context = painter.tokens[order]
    sampling = painter.model.model.model_sampling
    lowest, highest = (sampling.percent_to_sigma(percent) for percent in (offer.end, offer.start))
    features: dict[Any, tuple[Tensor, Tensor]] = {}
    hole: Tensor | None = None  # [B, 1, h, w]; none while the exemplar passes through

    def attend(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> Tensor:
        block, heads = (*options["block"], options["block_index"]), options["n_heads"]
        if hole is None:
            features[block] = k, v
        if hole is None or block not in features:
            return attention(q, k, v, heads)
        times = len(q) // len(latents)
        added_k, added_v = (each.repeat(times, 1, 1) for each in features[block])
        inside = F.adaptive_avg_pool2d(hole, math.isqrt(q.shape[1])).flatten(2).mT > 0.5
        if offer.blend:
            own, other = attention(q, k, v, heads), attention(q, added_k, added_v, heads)
            return torch.lerp(own, other, offer.strength * inside)
        k, v = torch.cat([k, added_k], dim=1), torch.cat([v, added_v], dim=1)
        bias = torch.zeros(len(q), 1, q.shape[1], k.shape[1])
        weight = torch.where(inside, math.log(offer.strength), -math.inf)
        bias[..., q.shape[1] :] = weight[:, None]
        return attention(q, k, v, heads, bias)

    def evaluate(apply_model: Any, given: dict[str, Any]) -> Tensor:
        nonlocal hole
        x, sigma, c = given["input"], given["timestep"], given["c"]
        features.clear()
        marked: Tensor = 1.0 - c["c_concat"][:, 4:5]
        hole = marked
        if not lowest <= float(sigma[0]) <= highest:
            return apply_model(x, sigma, **c)
        if offer.conditional:
            half = torch.tensor([float(which == 0) for which in given["cond_or_uncond"]])
            marked = marked * half.repeat_interleave(len(latents))[:, None, None, None]
        hole = None
        options = {**c["transformer_options"], "cond_or_uncond": [0]}
        own = {"c_concat": no_hole, "c_crossattn": context, "transformer_options": options}
        noised = sampling.noise_scaling(sigma[0], noise, latents)
        apply_model(noised, sigma[: len(latents)], **{**c, **own})
        hole = marked
        return apply_model(x, sigma, **c)

    model = painter.model.clone()
    model.set_model_unet_function_wrapper(evaluate)
    unet = model.model.diffusion_model
    for name, module in unet.named_modules():
        if hasattr(module, "attn1"):
            part, number, *_, index = name.split(".")
            kind = part.split("_")[0]
            largest = module.attn1.to_q.in_features == unet.model_channels
            if (
                offer.layers == "all"
                or (offer.layers == "largest" and largest)
                or offer.layers == kind
            ):
                number = 0 if kind == "middle" else int(number)
                model.set_model_attn1_replace(attend, kind, number, int(index))
    return model


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Of [B, N, C] to [B, M, C]; the bias [B, 1, N, M] is added to the scores."""
    q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class Result:
    """Paintings, and one value a painting of each measure.

    Attributes:
        evaluations: of the UNet for one picture.
        pictures: [N, h, w, 3] of the first seed.
        ranks: how many objects it resembles more than its own.
        grid: mean difference to the object drawn into the hole, over a grid of colours, of 255.
        colors: difference of the mean and the standard deviation of the colours in the hole to
            those of the object drawn into it, summed, mean of channels, of 255.
        painted: cosine of the painted area's token to the exemplar's.
        kept: mean squared error of the kept pixels of the region, before pasting.
    """

    evaluations: float
    pictures: Tensor
    ranks: np.ndarray[Any, Any]
    grid: np.ndarray[Any, Any]
    colors: np.ndarray[Any, Any]
    painted: np.ndarray[Any, Any]
    kept: np.ndarray[Any, Any]


def measure(painter: Painter, model: Any, seeds: Sequence[int] = SEEDS) -> Result:
    """Paint with a MODEL and look at the results."""
    paintings = [painter.paint(model, TASK, seed) for seed in seeds]
    pictures = [each.pictures for each in paintings]
    cases = [case for each in pictures for case in painter.cases(each)]
    results = [case.finish()[0] for case in cases]
    shown = list(zip(results, cases, strict=True))
    before, masks = painter.crops
    kept = (1.0 - masks)[..., None].expand_as(before)
    errors = [
        ((each - before).square() * kept).sum((1, 2, 3)) / kept.sum((1, 2, 3)) for each in pictures
    ]
    return Result(
        paintings[0].evaluations,
        pictures[0],
        np.array([rank_of(*each) for each in shown]),
        np.array([grid_difference(*each) for each in shown]),
        np.array([color_difference(*each) for each in shown]),
        token_likeness(painter.components, results, cases).numpy(),
        torch.cat(errors).numpy(),
    )


OFFERS = {
    "all layers": Offer(1.0),
    "all layers, weight 0.3": Offer(0.3),
    "all layers, weight 3": Offer(3.0),
    "largest resolution": Offer(1.0, "largest"),
    "output blocks": Offer(1.0, "output"),
    "noisiest half": Offer(1.0, end=0.5),
    "clean end": Offer(1.0, start=0.3),
    "conditional half alone": Offer(1.0, conditional=True),
    "blend 0.3": Offer(0.3, blend=True),
    "blend 0.7": Offer(0.7, blend=True),
    "another object's features": Offer(1.0, wrong=True),
}


def main() -> None:
    """Measure every offer against none, print the table and draw the sheet."""
    parser = argparse.ArgumentParser(prog="detail", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help="folder of ComfyUI")
    parser.add_argument("--model", type=Path, default=Path("models/exemplar-tiny.safetensors"))
    parser.add_argument("--output", type=Path, default=Path("study/output"))
    arguments = parser.parse_args()
    painter = Painter(arguments.comfyui, arguments.model, resolution=64)
    results = {"none": measure(painter, painter.model)}
    for name, offer in track(OFFERS.items(), "Painting", console=console):
        results[name] = measure(painter, with_detail(painter, offer))
    section = as_section(painter, results)
    write_report(arguments.output / "detail", [section], {"model": arguments.model.name})
    console.print(markdown_table(section.columns, section.rows), soft_wrap=True)


def as_section(painter: Painter, results: dict[str, Result]) -> Section:
    """A row of means an offer."""
    rows = [
        [
            name,
            f"{result.evaluations:g}",
            f"{np.mean(result.ranks < 1):.1%}",
            f"{np.mean(result.ranks < 5):.1%}",
            f"{result.grid.mean():.1f}",
            f"{result.colors.mean():.1f}",
            f"{result.painted.mean():.3f}",
            f"{-10 * np.log10(result.kept.mean()):.2f}",
        ]
        for name, result in results.items()
    ]
    shown = [0, *np.linspace(1, len(painter.exemplars) - 1, SHOWN - 1).astype(int)]
    drawn = [
        [to_image(painter.exemplars[n]), *(to_image(r.pictures[n]) for r in results.values())]
        for n in shown
    ]
    return Section(
        "Detail of the exemplar",
        f"{len(SEEDS) * len(painter.exemplars)} paintings a row ({TASK.key}). Evaluations of the "
        "UNet for one picture; top-1 and top-5 as `nox -s transfer` has them; grid and colours: "
        "mean difference to the object drawn into the hole, over a grid of colours, and of mean "
        "and deviation, of 255; painted: cosine of the painted area's token to the exemplar's; "
        "kept: PSNR of the region's kept pixels before pasting, in dB.",
        ["", "evaluations", "top-1", "top-5", "grid", "colours", "painted", "kept"],
        rows,
        {"detail.png": sheet(["exemplar", *results], drawn)},
    )


if __name__ == "__main__":
    main()
