"""Live previews show the colours that the picture will have."""

from __future__ import annotations

from support.library import run_in_host_process

from lab.host.headless import PACK

MODEL = PACK / "models" / "exemplar-tiny.safetensors"
PREVIEW = """
import json, torch
import comfy.latent_formats
import latent_preview
from PIL import Image
import numpy as np
from pack.nodes import load
from pack.nodes.host import files
from lab.tiny_model.held_out import scenes

torch.set_grad_enabled(False)
latent_preview.args.preview_method = latent_preview.LatentPreviewMethod.Latent2RGB
files.register_model_folder(path.parent)
loaded = load.LoadExemplarModel.execute(path.name, "fp32").result
latent_format, vae = loaded[0].model.latent_format, loaded[2]

def closeness(latent_format):
    previewer = latent_preview.get_previewer(torch.device("cpu"), latent_format)
    found = []
    for scene in scenes():
        small = np.asarray(scene.photo.resize((64, 64)), np.float32) / 255
        latent = latent_format.process_in(vae.encode(torch.from_numpy(small)[None]))
        shown = previewer.decode_latent_to_preview_image("JPEG", latent)[1].convert("RGB")
        wanted = np.asarray(scene.photo.resize(shown.size, Image.Resampling.BOX), np.float32)
        found.append(float(np.abs(np.asarray(shown, np.float32) - wanted).mean()))
    return sum(found) / len(found)

print(json.dumps([closeness(comfy.latent_formats.SD15()), closeness(latent_format)]))
"""
FULL_SIZE = """
import json
from types import SimpleNamespace
import torch
from pack.exemplar_model.standalone.components import Components, ModelConfig
from pack.exemplar_model.weights.checkpoint import AUTOENCODER_PREFIX
from pack.nodes.host import preview

with torch.device("meta"):
    weights = Components.random(ModelConfig()).to_original()
autoencoder = {
    key.removeprefix(AUTOENCODER_PREFIX): tensor
    for key, tensor in weights.items()
    if key.startswith(AUTOENCODER_PREFIX)
}
preview.fit_preview(None, None, SimpleNamespace(autoencoder=autoencoder))  # touches neither
print(json.dumps(len(autoencoder)))
"""


def test_previews_of_the_shipped_model_have_its_colours() -> None:
    """Found on the basic workflow, whose previews were green."""
    of_stable_diffusion, fitted = run_in_host_process(PREVIEW, MODEL)
    assert fitted < 20 < 60 < of_stable_diffusion  # mean difference, of 255


def test_stable_diffusions_autoencoder_keeps_the_hosts_factors() -> None:
    assert run_in_host_process(FULL_SIZE, MODEL) > 0
