"""Prompts in API format, put together from the pack's nodes and the host's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from lab.host.headless import Host, OnEvent

Link = list[Any]


class Graph:
    """A prompt under construction; `add` returns the node's id for links."""

    def __init__(self) -> None:
        self.prompt: dict[str, Any] = {}

    def add(self, class_type: str, **inputs: Any) -> str:
        """Add a node; gives its number."""
        node = str(len(self.prompt) + 1)
        self.prompt[node] = {"class_type": class_type, "inputs": inputs}
        return node

    def image(self, name: str) -> Link:
        """The picture of an uploaded PNG."""
        return [self.add("LoadImage", image=f"{name}.png"), 0]

    def images(self, names: list[str]) -> Link:
        """Several pictures of one size as a batch."""
        batch = self.image(names[0])
        for name in names[1:]:
            batch = [self.add("ImageBatch", image1=batch, image2=self.image(name)), 0]
        return batch

    def masks(self, names: list[str]) -> Link:
        """One mask, or several as a batch; the host batches masks by way of images."""
        if len(names) == 1:
            return [self.add("LoadImageMask", image=f"{names[0]}.png", channel="red"), 0]
        return [self.add("ImageToMask", image=self.images(names), channel="red"), 0]

    def load(self, model: str, weight_dtype: str = "default") -> str:
        """A loader of our models."""
        return self.add("LoadExemplarModel", model_name=model, weight_dtype=weight_dtype)

    def encode(self, loader: str, image: Link, **changes: Any) -> str:
        """Encode Exemplar with its defaults."""
        inputs = {"framing": "stretch", "merge": "separate", "strength": 1.0}
        inputs |= {"mask_background": "keep"} | changes
        return self.add("EncodeExemplar", encoder=[loader, 1], image=image, **inputs)

    def sample(self, loader: str, encode: str, image: Link, mask: Link, **changes: Any) -> str:
        """Exemplar Inpaint Sampler with small settings."""
        inputs = {
            "seed": 3,
            "steps": 3,
            "cfg": 5.0,
            "sampler_name": "plms",
            "scheduler": "ddim_uniform",
            "denoise": 1.0,
            "region": "around mask",
            "context": 2.0,
            "resolution": 64,
            "feather": 0,
            "match_color": True,
        }
        links = {"model": [loader, 0], "positive": [encode, 0], "negative": [encode, 1]}
        links |= {"vae": [loader, 2], "image": image, "mask": mask}
        return self.add("ExemplarInpaintSampler", **{**links, **inputs, **changes})

    def paint(
        self,
        masks: list[str],
        *,
        model: str = "narrow.safetensors",
        image: str = "odd",
        exemplars: tuple[str, ...] = ("face",),
        **changes: Any,
    ) -> str:
        """The pack's own graph: load, encode, sample."""
        loader = self.load(model)
        encode = self.encode(loader, self.images(list(exemplars)))
        return self.sample(loader, encode, self.image(image), self.masks(masks), **changes)

    def crop(self, image: Link, mask: Link) -> str:
        """The region around the mask, small."""
        return self.add("ExemplarCropToMask", image=image, mask=mask, context=2.0, resolution=64)

    def masked(
        self, loader: str, encode: str, image: Link, mask: Link, noise_mask: bool = False
    ) -> str:
        """The host's own node for inpainting models."""
        return self.add(
            "InpaintModelConditioning",
            positive=[encode, 0],
            negative=[encode, 1],
            vae=[loader, 2],
            pixels=image,
            mask=mask,
            noise_mask=noise_mask,
        )

    def ksampler(self, loader: str, conditioning: str, latent: Link, steps: int = 2) -> str:
        """The host's own sampler."""
        return self.add(
            "KSampler",
            model=[loader, 0],
            positive=[conditioning, 0],
            negative=[conditioning, 1],
            latent_image=latent,
            seed=1,
            steps=steps,
            cfg=5.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        )

    def reference(
        self,
        loader: str,
        conditioning: str,
        latent: Link,
        *,
        algorithm: str = "plms",
        steps: int,
        seed: int,
        cfg: float = 5.0,
    ) -> str:
        """The paper's sampler in the host's SamplerCustom."""
        sampler = self.add(
            "ExemplarReferenceSampler",
            model=[loader, 0],
            algorithm=algorithm,
            steps=steps,
            denoise=1.0,
        )
        return self.add(
            "SamplerCustom",
            model=[loader, 0],
            add_noise=True,
            noise_seed=seed,
            cfg=cfg,
            positive=[conditioning, 0],
            negative=[conditioning, 1],
            sampler=[sampler, 0],
            sigmas=[sampler, 1],
            latent_image=latent,
        )

    def save_image(self, link: Link) -> str:
        """Save a picture."""
        return self.add("SaveImage", images=link, filename_prefix="test")

    def save_mask(self, link: Link) -> str:
        """Save a mask as a picture."""
        return self.save_image([self.add("MaskToImage", mask=link), 0])

    def save_latent(self, link: Link) -> str:
        """Save latents."""
        return self.add("SaveLatent", samples=link, filename_prefix="test")


class Run:
    """A prompt that ran, and readers for what its output nodes wrote."""

    def __init__(self, host: Host, graph: Graph, on_event: OnEvent | None = None) -> None:
        self.host = host
        self.outputs = host.run(graph.prompt, on_event)

    def latent(self, node: str) -> Tensor:
        """The latents that a node saved."""
        return load_file(self.host.output(self.outputs[node]["latents"][0]))["latent_tensor"]

    def pictures(self, node: str) -> np.ndarray:
        """[N, H, W, 3], 8 bit."""
        paths = [self.host.output(entry) for entry in self.outputs[node]["images"]]
        return np.stack([np.array(Image.open(path).convert("RGB")) for path in paths])


def start_noise(seed: int, shape: tuple[int, ...]) -> Tensor:
    """The noise that the host draws for a seed (`comfy.sample.prepare_noise`)."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
