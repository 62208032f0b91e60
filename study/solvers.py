"""How many UNet evaluations does a picture take? Error against the converged solution.

Every deterministic sampler and scheduler of the host, and the reference samplers, paint the same
held-out objects into held-out scenes from the same noise; the converged solution is DDIM with 1000
steps. Results go to `study/output/solvers.json` one by one, so the same command goes on where it
stopped; then it writes the plot and the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from demo.library import load_pack
from exemplar_model.checkpoint import read_checkpoint
from exemplar_model.components import Components
from exemplar_model.config import LATENT_SCALE
from exemplar_model.pipeline import decode_latents, encode
from exemplar_model.pipeline import paint as paint_without_host
from exemplar_model.region import find_regions
from tiny_model.held_out import as_pixels, objects, scenes

from .cases import CONTEXT, FEATHER, clean_exemplars
from .solver_report import write_solver_report
from .solver_results import Results, Task

CFGS = (1.0, 3.0, 5.0, 8.0)
STEPS = (5, 10, 15, 20, 25, 50)
CONVERGED_STEPS = 1000
SEED = 0
REFERENCE = ("plms", "ddim_uniform")
SAMPLERS = (
    "plms",
    "ddim",
    "euler",
    "heun",
    "heunpp2",
    "dpm_2",
    "lms",
    "dpmpp_2m",
    "ipndm",
    "ipndm_v",
    "deis",
    "res_multistep",
    "gradient_estimation",
    "uni_pc",
    "uni_pc_bh2",
)
"""Of the host's samplers those that draw no noise on the way."""
SCREENED_CFG = 5.0
SCREENED_COST = 42
"""Evaluations: twenty guided steps, and one more as PLMS has it."""
FINALISTS = 8
"""Solvers that are measured at every guidance scale, besides the reference's."""
console = Console()


def main() -> None:
    """Run the study, or what is left of it."""
    parser = argparse.ArgumentParser(prog="solvers", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help="folder of ComfyUI")
    parser.add_argument("--model", type=Path, default=Path("models/exemplar-tiny.safetensors"))
    parser.add_argument("--output", type=Path, default=Path("study/output"))
    parser.add_argument("--resolution", type=int, default=64)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.output / "solvers.json", of=arguments.model)
    bench = Bench(arguments.comfyui, arguments.model, arguments.resolution)
    screened = [
        Task(sampler, scheduler, steps, SCREENED_CFG)
        for sampler in SAMPLERS
        for scheduler in bench.schedulers
        for steps in (10, 20)
    ]
    run(bench, results, screened, "Screening")
    finalists = [REFERENCE, ("ddim", "ddim_uniform"), *best(results, screened)]
    every = [
        Task(sampler, scheduler, steps, cfg)
        for cfg in CFGS
        for sampler, scheduler in dict.fromkeys(finalists)
        for steps in STEPS
    ]
    run(bench, results, every, "Finalists")
    write_solver_report(arguments.output, results.entries, every, screened)


def best(results: Results, tasks: list[Task]) -> list[tuple[str, str]]:
    """The solvers with the least error for the evaluations of twenty guided steps."""
    solvers = {task.solver for task in tasks}

    def error(solver: tuple[str, str]) -> float:
        own = [task for task in tasks if task.solver == solver]
        found = [results.entries[task.key] for task in own]
        return min(entry["error"] for entry in found if entry["evaluations"] <= SCREENED_COST)

    return sorted(solvers, key=error)[:FINALISTS]


def run(bench: Bench, results: Results, tasks: list[Task], title: str) -> None:
    """Measure what has not been measured yet."""
    left = [task for task in tasks if task.key not in results.entries]
    for task in track(left, title, console=console):
        results.add(task, bench.measure(task))


class Bench:
    """The host's sampling, and the converged latents to hold it against."""

    def __init__(self, comfyui: Path, model: Path, resolution: int) -> None:
        """Twenty objects, each in one of the scenes in turn."""
        pack = load_pack(comfyui, "--cpu")
        self.sampling: Any = pack("nodes.host.sampling")
        host_model, host_files = pack("nodes.host.model"), pack("nodes.host.files")
        self.schedulers: list[str] = self.sampling.scheduler_names()
        checkpoint = pack("exemplar_model.checkpoint").read_checkpoint(
            model, host_files.read_weights
        )
        with torch.inference_mode():
            self.model = host_model.build_model(checkpoint, "fp32", model)
            self.vae = host_model.build_autoencoder(checkpoint, model.name)
        self.components = Components.from_checkpoint(read_checkpoint(model))
        places, shown = scenes(), clean_exemplars()
        numbers = range(len(objects()))
        self.exemplars = [shown[number % len(places)][number] for number in numbers]
        chosen = [places[number % len(places)] for number in numbers]
        self.images = torch.stack([as_pixels(scene.photo) for scene in chosen])
        self.masks = torch.zeros(self.images.shape[:3])
        for mask, scene in zip(self.masks, chosen, strict=True):
            left, top, right, bottom = scene.hole
            mask[top:bottom, left:right] = 1.0
        regions = find_regions(
            self.images,
            self.masks,
            resolution=resolution,
            multiple=self.components.config.factor,
            context=CONTEXT,
            margin=FEATHER,
        )
        self.crops = regions.crop()
        with torch.inference_mode():
            self.tokens, self.null = encode(self.components, self.exemplars)
        self.resolution = resolution
        self.converged: dict[float, Tensor] = {}

    def solution(self, cfg: float) -> Tensor:
        """Scaled latents [N, 4, h, w] of 1000 DDIM steps."""
        if cfg not in self.converged:
            with console.status(f"Converged solution at cfg {cfg:g} …"):
                self.converged[cfg] = paint_without_host(
                    self.components,
                    self.images,
                    self.masks,
                    self.exemplars,
                    seed=SEED,
                    steps=CONVERGED_STEPS,
                    cfg=cfg,
                    algorithm="ddim",
                    context=CONTEXT,
                    resolution=self.resolution,
                    feather=FEATHER,
                ).latents
        return self.converged[cfg]

    def measure(self, task: Task) -> dict[str, float]:
        """Error of a solver's latents and pictures, and what they cost.

        Returns:
            `evaluations`: of the UNet for a picture, both halves of a guided step counted;
            `error`: L2 distance to the converged latents, relative to their norm, mean of pictures;
            `pixels`: root mean square difference of the regions, of 255.
        """
        wanted = self.solution(task.cfg)
        evaluations = 0

        def counted(apply_model: Any, given: dict[str, Any]) -> Tensor:
            nonlocal evaluations
            evaluations += given["input"].shape[0]
            return apply_model(given["input"], given["timestep"], **given["c"])

        model = self.model.clone()
        model.set_model_unet_function_wrapper(counted)
        with torch.inference_mode():
            latents, pictures = self.sampling.paint(
                model,
                [[self.tokens, {}]],
                [[self.null, {}]],
                self.vae,
                *self.crops,
                seed=SEED,
                steps=task.steps,
                cfg=task.cfg,
                sampler_name=task.sampler,
                scheduler=task.scheduler,
                denoise=1.0,
            )
            wanted_pictures = decode_latents(self.components, wanted)
        distance = (latents * LATENT_SCALE - wanted).flatten(1).norm(dim=1)
        return {
            "evaluations": evaluations / len(latents),
            "error": float((distance / wanted.flatten(1).norm(dim=1)).mean()),
            "pixels": 255 * float((pictures - wanted_pictures).square().mean().sqrt()),
        }


if __name__ == "__main__":
    main()
