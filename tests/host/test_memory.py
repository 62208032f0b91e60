"""Loading a safetensors file costs the model's own memory and no second copy of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.library import run_in_host_process
from support.models import RandomModel, write_safetensors

LOAD = """
import json, threading, time, torch
from pack.exemplar_model.checkpoint import read_checkpoint
from pack.nodes.host import files, model

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
    denoiser = model.build_model(checkpoint, "default", path)
    encoder = model.build_encoder(checkpoint, "default", "x")
    vae = model.build_autoencoder(checkpoint, "x")
running = False
thread.join()
modules = (denoiser.model, encoder.patcher.model, vae.first_stage_model)
size = sum(t.nbytes for m in modules for t in (*m.parameters(), *m.buffers()))
print(json.dumps({"size": size, "peak": peak - before}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_loading_makes_no_second_copy(tmp_path: Path, models: dict[str, RandomModel]) -> None:
    path = tmp_path / "wide.safetensors"
    write_safetensors(path, models["wide"])
    measured = run_in_host_process(LOAD, path)
    assert measured["size"] > 100e6
    assert measured["peak"] < 1.3 * measured["size"]
