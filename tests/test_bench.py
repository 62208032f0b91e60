"""What the benchmarks count, and the report of what has been measured."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lab.bench.measure import (
    Stages,
    alternate,
    anonymous_bytes,
    count_flops,
    release_free_memory,
    timed,
)
from lab.bench.report import keep, kept, write_report
from lab.bench.tables import ratio, whole

CPU = torch.device("cpu")
ABOUT = {"cpu": "a CPU", "gpu": None, "threads": 1, "torch": "2"}
MADE = {"about": ABOUT, "command": "nox -s bench", "date": "2025-01-01", "host": "0.3.75"}
STEP = {
    **MADE,
    "dtype": "float32",
    "contestants": {
        "ours": {"seconds": [1.0, 1.5, 1.0], "flops": 9e9, "difference": 1e-7},
        "stock host": {"seconds": [4.0, 4.5, 3.0], "flops": 10e9, "difference": 0.0},
        "diffusers": {"seconds": [2.0, 2.0, 2.0], "flops": 10e9, "difference": 0.0},
    },
    "matmul": {"seconds": [0.5, 0.75, 0.5], "flops": 9e9},
}
LOADING = {
    **MADE,
    "runs": {
        "safetensors fp32": [{"seconds": 2.0, "peak": 1.1e9, "needed": 1e9}],
        "original .ckpt": [{"seconds": 5.0, "peak": 2.2e9, "needed": 1e9}],
    },
}


class Attention(nn.Module):
    """Fused attention of CPUs, which PyTorch's counter does not know."""

    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


def test_operations_of_a_linear_layer_and_of_attention():
    with torch.inference_mode():
        layer = count_flops(nn.Linear(8, 16), torch.zeros(4, 8))
        attention = count_flops(Attention(), torch.zeros(2, 3, 64, 32))
    assert layer == 2 * 4 * 8 * 16
    assert attention == 2 * (2 * 2 * 3 * 64 * 64 * 32)


def test_contestants_take_turns():
    order = []
    functions = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = alternate(functions, 2, CPU)
    assert order == list("abcabc")
    assert all(len(each) == 2 and min(each) >= 0 for each in seconds.values())


def test_watched_methods_are_counted_and_restored():
    layer, stages = nn.Linear(2, 2), Stages(CPU)
    with stages.watching(layer=(layer, "forward")):
        layer(torch.zeros(1, 2))
        layer(torch.zeros(1, 2))
    layer(torch.zeros(1, 2))
    assert stages.calls == {"layer": 2}
    assert stages.seconds["layer"] > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_anonymous_memory_grows_with_a_tensor():
    release_free_memory()  # what other tests have freed could hold the tensor
    before = anonymous_bytes()
    tensor, _ = timed(lambda: torch.ones(2**24), CPU)
    assert anonymous_bytes() - before > 0.9 * tensor.nbytes


def test_ratios_are_of_the_same_round():
    found = ratio([1.0, 10.0, 3.0], [2.0, 10.0, 2.0])
    assert (found.low, found.median, found.high) == (0.5, 1.0, 1.5)
    assert str(found) == "1.00 (0.50–1.50)"


def test_whole_runs_follow_from_one_evaluation():
    run = {
        "seconds": {"load": 9.0, "VAE encode": 2.0, "UNet": 8.0, "rest of sampling": 2.0},
        "calls": {"UNet": 5},
    }
    assert whole(run, 51) == pytest.approx(2.0 + 51 * 2.0)


def test_the_report_is_made_of_the_results_that_there_are(tmp_path):
    keep(tmp_path, "step", "full", STEP)
    text = write_report(tmp_path, "full").read_text()
    assert "| ours | 0.50 (0.50–0.75) | 0.33 (0.25–0.33) | 9 | 0.50 | 1.0e-07 |" in text
    assert "Loading" not in text
    keep(tmp_path, "loading", "full", LOADING)
    text = write_report(tmp_path, "full").read_text()
    assert "One guided step" in text
    assert "| original .ckpt | 1.00 | 2.20 | 2.20 | 2.50 |" in text
    assert {file.name for file in tmp_path.glob("*.png")} == {
        "benchmark-step.png",
        "benchmark-loading.png",
    }


def test_sizes_do_not_mix(tmp_path):
    keep(tmp_path, "step", "full", STEP)
    assert kept(tmp_path, "tiny") == {}
