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

from .painted_object import CONTEXT, FEATHER, PaintedObject, clean_exemplars
from .solver_results import Task


@dataclass(frozen=True)
class Sampled:
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


class HostSampler:
    """Samples all of them in one batch, and counts what it costs.

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
    """

    def __init__(self, comfyui: Path, model: Path, resolution: int) -> None:
        pack = load_pack(comfyui, "--cpu")
        self.painting: Any = pack("nodes.host.painting")
        self.schedulers: list[str] = pack("nodes.host.samplers").scheduler_names()
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
            self.vae = pack("nodes.host.autoencoder").build_autoencoder(self.checkpoint)
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

    @torch.inference_mode()
    def load(self, weight_dtype: str) -> Any:
        """MODEL with its weights in a type of `weight_dtypes`."""
        return self.host_model.build_model(self.checkpoint, weight_dtype, self.path)

    def sample(self, model: Any, task: Task, seed: int) -> Sampled:
        """Sample with a solver and decode.

        Args:
            model: MODEL.
            task: the solver and its setting.
            seed: of the start noise.
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
            latents, pictures = self.painting.paint_regions(
                model,
                [[self.tokens, {}]],
                [[self.null, {}]],
                self.vae,
                *self.crops,
                seed=seed,
                steps=task.steps,
                cfg=task.cfg,
                sampler_name=task.sampler,
                scheduler=task.scheduler,
                denoise=1.0,
            )
        N = len(latents)
        return Sampled(evaluations / N, latents, pictures, last["input"][:N], last["timestep"][0])

    def in_scenes(self, pictures: Tensor) -> list[PaintedObject]:
        """Sampled regions [N, h, w, 3] with their scenes."""
        return [
            PaintedObject(scene, n, self.exemplars[n], self.regions[n], pictures[n])
            for n, scene in enumerate(self.scenes)
        ]


def _evaluate(apply_model: Any, given: dict[str, Any]) -> Tensor:
    """What the host does where no such function is set."""
    return apply_model(given["input"], given["timestep"], **given["c"])
