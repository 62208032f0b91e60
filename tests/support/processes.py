"""Processes of their own for tests, forked from one that has imported what takes long to import."""

from __future__ import annotations

import multiprocessing
from functools import cache
from multiprocessing.context import BaseContext

IMPORTED = (
    "torch",
    "torchvision",
    "scipy.ndimage",
    "transformers.models.clip.modeling_clip",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "exemplar_model.training.engine",
)


@cache
def starter() -> BaseContext:
    """Starts processes: where the system can fork, from one that has imported `IMPORTED`."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context
