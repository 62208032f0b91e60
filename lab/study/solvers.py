"""How many UNet evaluations does a picture take? Error against the converged solution.

Samplers that draw no noise on the way, with every scheduler of the host, paint the same held-out
objects into held-out scenes from the same noise; the converged solution is DDIM with 1000 steps.
ComfyUI's samplers go on to a picture without noise, the reference stops at its timestep 0: each is
compared with the converged solution where it ends itself. Results go to `solvers.json` there
one by one, so the same command goes on where it stopped; then it measures guidance in limited
intervals, and writes the plot and the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from exemplar_model.constants import LATENT_SCALE
from exemplar_model.sampler import to_latents
from exemplar_model.standalone.pipeline import decode_latents
from lab.arguments import tool_arguments

from .host_sampler import HostSampler
from .intervals import study_intervals
from .solver_report import write_solver_report
from .solver_results import Results, Task

CFGS = (1.0, 3.0, 5.0, 8.0)
STEPS = (5, 10, 15, 20, 25, 50)
CONVERGED_STEPS = 1000
SEED = 0
REFERENCE = ("plms", "ddim_uniform")
SAMPLERS = {
    "plms": 1,
    "ddim": 1,
    "euler": 1,
    "heun": 2,
    "heunpp2": 3,
    "dpm_2": 2,
    "lms": 1,
    "dpmpp_2m": 1,
    "ipndm": 1,
    "ipndm_v": 1,
    "deis": 1,
    "res_multistep": 1,
    "gradient_estimation": 1,
    "uni_pc": 1,
    "uni_pc_bh2": 1,
}
"""Samplers that draw no noise on the way and follow the steps; evaluations in a step, at most."""
SCREENED_CFG = 5.0
SCREENED_COST = 20
"""Evaluations of each half of the guided pair."""
FINALISTS = 8
"""Solvers that are measured at every guidance scale, besides the reference's."""
console = Console()


def main() -> None:
    """Run the study, or what is left of it."""
    parser = tool_arguments(__doc__, output="study", model=True)
    parser.add_argument("--resolution", type=int, default=64)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.output / "solvers.json", of=arguments.model)
    study = SolverStudy(arguments.comfyui, arguments.model, arguments.resolution)
    screened = [
        Task(sampler, scheduler, SCREENED_COST // evaluations, SCREENED_CFG)
        for sampler, evaluations in SAMPLERS.items()
        for scheduler in study.schedulers
    ]
    run(study, results, screened, "Screening")
    finalists = [REFERENCE, ("ddim", "ddim_uniform"), *best(results, screened)]
    every = [
        Task(sampler, scheduler, steps, cfg)
        for cfg in CFGS
        for sampler, scheduler in dict.fromkeys(finalists)
        for steps in STEPS
    ]
    run(study, results, every, "Finalists")
    intervals = study_intervals(study)
    write_solver_report(arguments.output, results.entries, every, screened, intervals)


def best(results: Results, tasks: list[Task]) -> list[tuple[str, str]]:
    """The solvers with the least error."""
    ordered = sorted(tasks, key=lambda task: results.entries[task.key]["error"])
    return [task.solver for task in ordered[:FINALISTS]]


def run(study: SolverStudy, results: Results, tasks: list[Task], title: str) -> None:
    """Measure what has not been measured yet."""
    left = [task for task in tasks if task.key not in results.entries]
    for task in track(left, title, console=console):
        results.add(task, study.measure(task))


@dataclass(frozen=True)
class Solution:
    """The converged solution at both ends that samplers have: scaled latents [N, 4, h, w]."""

    without_noise: Tensor
    at_timestep_0: Tensor


class SolverStudy(HostSampler):
    """Holds what the host's solvers paint against the converged latents."""

    def __init__(self, comfyui: Path, model: Path, resolution: int) -> None:
        super().__init__(comfyui, model, resolution)
        self.solutions: dict[float, Solution] = {}

    def solution(self, cfg: float) -> Solution:
        """Where 1000 DDIM steps lead: one timestep each, the last from timestep 0 to no noise."""
        if cfg not in self.solutions:
            with console.status(f"Converged solution at cfg {cfg:g} …"):
                task = Task("ddim", "simple", CONVERGED_STEPS, cfg)
                found = self.sample(self.model, task, SEED)
            self.solutions[cfg] = Solution(
                found.latents * LATENT_SCALE, to_latents(found.last_x, found.last_sigma)
            )
        return self.solutions[cfg]

    def measure(self, task: Task) -> dict[str, float]:
        """Error of a solver's latents and pictures, and what they cost.

        Returns:
            `evaluations`: of the UNet for a picture, both halves of a guided step counted;
            `error`: L2 distance to the converged latents, relative to their norm, mean of pictures;
            `pixels`: root mean square difference of the regions, of 255.
        """
        solution = self.solution(task.cfg)
        wanted = solution.at_timestep_0 if task.solver == REFERENCE else solution.without_noise
        painted = self.sample(self.model, task, SEED)
        with torch.inference_mode():
            wanted_pictures = decode_latents(self.components, wanted)
        distance = (painted.latents * LATENT_SCALE - wanted).flatten(1).norm(dim=1)
        return {
            "evaluations": painted.evaluations,
            "error": float((distance / wanted.flatten(1).norm(dim=1)).mean()),
            "pixels": 255 * float((painted.pictures - wanted_pictures).square().mean().sqrt()),
        }


if __name__ == "__main__":
    main()
