"""A file that training wrote, in the running host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from support.training import small_config

from exemplar_model.constants import LATENT_SCALE
from exemplar_model.standalone.components import Components
from exemplar_model.standalone.pipeline import paint
from exemplar_model.training.engine import train
from exemplar_model.weights.checkpoint import read_checkpoint
from lab.host.graphs import Graph, Run
from lab.host.headless import Host
from lab.host.pictures import pictures


def test_a_trained_model_paints_in_the_host_what_it_paints_without(
    host: Host, tmp_path: Path
) -> None:
    config = small_config(tmp_path, "steps=4", "export_dtype=fp32")
    model = train(config)
    assert model is not None
    (host.folder / "models" / "exemplar" / "trained.safetensors").write_bytes(model.read_bytes())
    graph = Graph()
    settings = {"region": "whole image", "resolution": 78, "seed": 5, "steps": 5}
    sample = graph.paint(
        ["small_mask"], model="trained.safetensors", image="small", exemplars=("face",), **settings
    )
    saved = graph.save_latent([sample, 1])
    latent = Run(host, graph).latent(saved)

    drawn = {name: torch.from_numpy(np.array(p)).float() / 255 for name, p in pictures().items()}
    expected = paint(
        Components.from_checkpoint(read_checkpoint(model)),
        drawn["small"][None],
        drawn["small_mask"][None],
        [drawn["face"]],
        seed=5,
        steps=5,
        context=None,
        resolution=78,
    ).latents
    assert latent.shape[-2:] == expected.shape[-2:]
    torch.testing.assert_close(latent * LATENT_SCALE, expected, atol=1e-4, rtol=1e-4)
