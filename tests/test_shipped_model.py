"""The shipped weights: small, complete, and held-out exemplars come across."""

from pathlib import Path

import pytest
from safetensors import safe_open

from exemplar_model.standalone.components import Components
from exemplar_model.weights.checkpoint import read_checkpoint
from lab.tiny_model.held_out import scenes
from lab.tiny_model.transfer import Transfer, measure

MODEL = Path(__file__).parents[1] / "models" / "exemplar-tiny.safetensors"
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def transfer() -> Transfer:
    """One scene of the measure, with fewer steps."""
    components = Components.from_checkpoint(read_checkpoint(MODEL))
    return measure(components, scenes()[:1], 3.5, {"steps": 10, "resolution": 64})[0]


def test_it_is_small_and_half_precision() -> None:
    assert MODEL.stat().st_size <= 24 * MEBIBYTE
    with safe_open(MODEL, "pt") as file:
        names = list(file.keys())
        assert {str(file.get_tensor(name).dtype) for name in names} == {"torch.float16"}
        assert {"config", "step", "data"} <= set(file.metadata())


def test_held_out_exemplars_come_across(transfer: Transfer) -> None:
    assert transfer.top1 >= 0.4
    assert transfer.top5 >= 0.7


def test_the_null_vector_brings_nothing_across(transfer: Transfer) -> None:
    assert transfer.null_top1 <= 0.15
    assert transfer.null_top5 <= 0.4


def test_the_sampled_region_keeps_its_surroundings(transfer: Transfer) -> None:
    # all scenes with 25 steps: 2.1 dB; this is the hardest one
    assert transfer.kept_psnr >= transfer.autoencoder_psnr - 4.0
