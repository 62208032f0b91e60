"""The host's sampling on held-out pictures: twenty objects, each in one of the scenes in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exemplar_model.region import find_regions
from exemplar_model.standalone.components import Components
from exemplar_model.standalone.pipeline import encode
from exemplar_model.weights.checkpoint import read_checkpoint
from lab.host.library import load_pack
from lab.tiny_model.held_out import as_pixels, objects, scenes

from .cases import CONTEXT, FEATHER, Case, clean_exemplars
from .solver_results import Task


@dataclass(frozen=True)
class Painted:
    """What one batch gave.

    Attributes:
        evaluations: of the UNet for one picture, both halves of a guided step counted.
        latents: [N, 4, h, w], unscaled.
        pictures: [N, h, w, 3] in [0, 1], the sampled regions.
        last_x: [N, 4, h, w], scaled, what the last evaluation was given: clean part + σ · noise.
        last_sigma: σ of it.
    """

    evaluations: float
    latents: Tensor
    pictures: Tensor
    last_x: Tensor
    last_sigma: Tensor


class Painter:
    """Paints all of them in one batch, and counts what it costs.

    Attributes:
        components: the model without the host.
        model: the same as the host's MODEL, in fp32.
        weight_dtypes: what *Load Exemplar Model* offers, fp32 first, without the host's choice.
        schedulers: the host's.
        guide_within: MODEL, start, end → MODEL; what Exemplar Guidance does.
        exemplars: pictures [H, W, 3] in [0, 1], one an object.
        scenes: in turn, one an object.
        images, masks: of the scenes, [N, H, W, 3] and [N, H, W], 1 = repaint.
        regions, crops: what is painted of each, and all of it in one batch.
        tokens, null: context of the exemplars [N, 1, D], and the null vector [1, 1, D].
        resolution: side of the square that is painted.
    """

    def __init__(self, comfyui: Path, model: Path, resolution: int) -> None:
        pack = load_pack(comfyui, "--cpu")
        self.sampling: Any = pack("nodes.host.sampling")
        self.schedulers: list[str] = self.sampling.scheduler_names()
        self.guide_within: Callable[[Any, float, float], Any] = pack(
            "nodes.host.guidance"
        ).guide_within
        self.host_model: Any = pack("nodes.host.model")
        self.weight_dtypes = [
            name
            for name, dtype in pack("nodes.host.precision").WEIGHT_DTYPES.items()
            if dtype is not None
        ]
        self.path = model
        self.checkpoint: Any = pack("exemplar_model.weights.checkpoint").read_checkpoint(
            model, pack("nodes.host.files").read_weights
        )
        self.model = self.load("fp32")
        with torch.inference_mode():
            self.vae = self.host_model.build_autoencoder(self.checkpoint, model.name)
        self.components = Components.from_checkpoint(read_checkpoint(model))
        places, shown = scenes(), clean_exemplars()
        numbers = range(len(objects()))
        self.exemplars = [shown[number % len(places)][number] for number in numbers]
        self.scenes = [places[number % len(places)] for number in numbers]
        self.images = torch.stack([as_pixels(scene.photo) for scene in self.scenes])
        self.masks = torch.stack([scene.mask for scene in self.scenes])
        self.regions = [
            find_regions(
                image[None],
                mask,
                resolution=resolution,
                multiple=self.components.config.factor,
                context=CONTEXT,
                feather_pixels=FEATHER,
            )
            for image, mask in zip(self.images, self.masks, strict=True)
        ]
        crops = [regions.crop() for regions in self.regions]
        self.crops = torch.cat([crop[0] for crop in crops]), torch.cat([crop[1] for crop in crops])
        with torch.inference_mode():
            self.tokens, self.null = encode(self.components, self.exemplars)
        self.resolution = resolution

    @torch.inference_mode()
    def load(self, weight_dtype: str) -> Any:
        """MODEL with its weights in a type of `weight_dtypes`."""
        return self.host_model.build_model(self.checkpoint, weight_dtype, self.path)

    def paint(
        self,
        model: Any,
        task: Task,
        seed: int,
        crops: tuple[Tensor, Tensor] | None = None,
        denoise: float = 1.0,
    ) -> Painted:
        """Sample with a solver and decode.

        Args:
            model: MODEL.
            task: the solver and its setting.
            seed: of the start noise.
            crops: what to paint instead of the scenes, images [N, h, w, 3] and masks [N, h, w].
            denoise: below 1 starts from the images.
        """
        evaluations = 0
        last: dict[str, Any] = {}
        evaluate = model.model_options.get("model_function_wrapper", _evaluate)

        def counted(apply_model: Any, given: dict[str, Any]) -> Tensor:
            nonlocal last
            last = given

            def count(x: Tensor, timestep: Tensor, **c: Any) -> Tensor:
                nonlocal evaluations
                evaluations += x.shape[0]
                return apply_model(x, timestep, **c)

            return evaluate(count, given)

        model = model.clone()
        model.set_model_unet_function_wrapper(counted)
        with torch.inference_mode():
            latents, pictures = self.sampling.paint(
                model,
                [[self.tokens, {}]],
                [[self.null, {}]],
                self.vae,
                *(crops or self.crops),
                seed=seed,
                steps=task.steps,
                cfg=task.cfg,
                sampler_name=task.sampler,
                scheduler=task.scheduler,
                denoise=denoise,
            )
        N = len(latents)
        return Painted(evaluations / N, latents, pictures, last["input"][:N], last["timestep"][0])

    def cases(self, pictures: Tensor) -> list[Case]:
        """Painted regions [N, h, w, 3] in their scenes."""
        return [
            Case(scene, number, self.exemplars[number], self.regions[number], pictures[number])
            for number, scene in enumerate(self.scenes)
        ]


def _evaluate(apply_model: Any, given: dict[str, Any]) -> Tensor:
    """What the host does where no such function is set."""
    return apply_model(given["input"], given["timestep"], **given["c"])
