"""On a CPU the weights of a safetensors file stay mapped; other types cost one copy of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.library import run_in_host_process
from support.models import RandomModel, write_safetensors

LOAD = """
import json, threading, time, torch
from pack.exemplar_model.weights.checkpoint import read_checkpoint
from pack.nodes.host import autoencoder, encoder as encoders, files, model

def anonymous():
    with open("/proc/self/status") as status:
        line = next(each for each in status if each.startswith("RssAnon"))
    return int(line.split()[1]) * 1024

peak, running = anonymous(), True
before = peak
def watch():
    global peak
    while running:
        peak = max(peak, anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
with torch.inference_mode():
    checkpoint = read_checkpoint(path, files.read_weights)
    denoiser = model.build_model(checkpoint, DTYPE, path)
    encoder = encoders.build_encoder(checkpoint, DTYPE, "x")
    vae = autoencoder.build_autoencoder(checkpoint)
running = False
thread.join()
modules = (denoiser.model, encoder.patcher.model, vae.first_stage_model)
size = sum(t.nbytes for m in modules for t in (*m.parameters(), *m.buffers()))
print(json.dumps({"size": size, "peak": peak - before}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("dtype", "copies"), [("default", 0.3), ("fp16", 1.3)])
def test_loading_costs(
    tmp_path: Path, models: dict[str, RandomModel], dtype: str, copies: float
) -> None:
    path = tmp_path / "wide.safetensors"
    write_safetensors(path, models["wide"])
    measured = run_in_host_process(f"DTYPE = {dtype!r}\n{LOAD}", path)
    assert measured["size"] > 60e6
    assert measured["peak"] < copies * measured["size"]
