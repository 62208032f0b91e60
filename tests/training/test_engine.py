"""The training loop: resuming, faults, several processes, and what is left at the end."""

import json
import os
import shutil
import time

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image
from support.photos import write_open_images
from support.training import (  # by the name that a started process finds it
    command,
    end,
    logged,
    printed,
    run,
    small_config,
    start,
    start_together,
    train_arguments,
    weights,
)

from exemplar_model.standalone.components import Components
from exemplar_model.training.engine import learning_rate, train
from exemplar_model.training.process import MovingAverage, new_accelerator
from exemplar_model.training.section import ConfigError
from exemplar_model.weights.checkpoint import read_checkpoint

gloo = pytest.mark.skipif(os.name == "nt", reason="several processes are tested on Linux")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Sums have one order, here and in started processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(small_config(out))
    return out


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    out = tmp_path_factory.mktemp("two_processes") / "run"
    run(command(*train_arguments(out), processes=2))
    return out


def equal_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        assert process.is_alive()
        time.sleep(0.001)


def test_the_end_of_a_run_leaves_a_model_that_opens(uninterrupted):
    components = Components.from_checkpoint(read_checkpoint(uninterrupted / "model.safetensors"))
    assert components.config.unet_channels == (32, 32)
    assert {t.dtype for t in weights(uninterrupted).values()} == {torch.float16}


def test_the_last_checkpoints_are_kept(uninterrupted):
    kept = sorted(path.name for path in (uninterrupted / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000006", "step-00000008"]


def test_running_again_changes_nothing(uninterrupted):
    files = list(uninterrupted.rglob("*.safetensors"))
    before = {file: file.stat().st_mtime_ns for file in files}
    train(small_config(uninterrupted))
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_a_lost_model_is_exported_again(uninterrupted):
    before = weights(uninterrupted)
    (uninterrupted / "model.safetensors").unlink()
    train(small_config(uninterrupted))
    assert equal_weights(weights(uninterrupted), before)


def test_kill_in_the_middle_resumes_with_the_same_curve(uninterrupted, tmp_path):
    out = tmp_path / "run"
    process = start(out)
    wait_for((out / "checkpoints" / "step-00000003").is_dir, process)
    process.kill()
    process.join()
    train(small_config(out))
    assert logged(out, "train/loss") == logged(uninterrupted, "train/loss")
    assert equal_weights(weights(out), weights(uninterrupted))


def test_kill_while_a_checkpoint_is_written_resumes_with_the_same_curve(uninterrupted, tmp_path):
    out = tmp_path / "run"
    process = start(out)
    unfinished = out / "checkpoints" / "unfinished-00000003"
    finished = out / "checkpoints" / "step-00000003"
    wait_for(lambda: unfinished.is_dir() or finished.is_dir(), process)
    process.kill()
    process.join()
    if finished.is_dir():  # the write was faster than the eye: take away what it wrote last
        finished.rename(unfinished)
        (unfinished / "progress.json").unlink()
    train(small_config(out))
    assert not unfinished.exists()
    assert logged(out, "train/loss") == logged(uninterrupted, "train/loss")
    assert equal_weights(weights(out), weights(uninterrupted))


def test_sigterm_saves_and_exits(tmp_path, capsys):
    out = tmp_path / "run"
    process = start(out, "checkpoint_every=1000", "steps=100000")
    wait_for((out / "log").is_dir, process)
    process.terminate()
    end(process)
    (saved,) = (out / "checkpoints").iterdir()
    step = int(saved.name.removeprefix("step-"))
    assert f"Stopped at update {step}" in printed(out).read_text()
    assert not (out / "model.safetensors").exists()
    train(small_config(out, "checkpoint_every=1000", f"steps={step + 1}"))
    assert f"Continuing from update {step}" in capsys.readouterr().out


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=gloo)])
def test_unreadable_pictures_are_listed_once_and_counted(tmp_path, processes):
    data = write_open_images(tmp_path, 6)
    for name in ("id01", "id04"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"no picture")
    out = tmp_path / "run"
    section = f"data={json.dumps(data)}"
    end(*start_together(out, section, "steps=6", processes=processes))
    assert "Pictures left out: 2" in printed(out).read_text()
    lines = set((out / "skipped.txt").read_text().splitlines())
    assert {line.split(".jpg")[0] for line in lines} == {"id01", "id04"}
    train(small_config(out, section, "steps=9"))
    assert set((out / "skipped.txt").read_text().splitlines()) == lines


@gloo
def test_two_processes_train_as_one_does(uninterrupted, two_processes):
    one, two = logged(uninterrupted, "train/loss"), logged(two_processes, "train/loss")
    assert one.keys() == two.keys()
    for step in one:
        assert two[step] == pytest.approx(one[step], rel=1e-4)
    rate = "train/learning_rate"
    assert logged(two_processes, rate) == logged(uninterrupted, rate)
    for key, tensor in weights(uninterrupted).items():
        torch.testing.assert_close(weights(two_processes)[key], tensor, atol=2e-4, rtol=2e-2)


@pytest.fixture
def one_pass(tmp_path):
    """The same run with one forward pass per update."""
    train(small_config(tmp_path / "one_pass", "micro_batch=4"))
    return tmp_path / "one_pass"


def first_part(whole, out):
    """What a run leaves that was killed after the checkpoint of update 3."""
    shutil.copytree(whole / "checkpoints" / "step-00000003", out / "checkpoints" / "step-00000003")
    shutil.copy(whole / "config.yaml", out)


def same_losses(whole, out):
    one, other = logged(whole, "train/loss"), logged(out, "train/loss")
    assert one.keys() == other.keys() == {8}  # the mean of all 8 updates
    assert other[8] == pytest.approx(one[8], rel=1e-5)


def test_a_run_goes_on_with_more_passes_per_update(uninterrupted, tmp_path):
    first_part(uninterrupted, tmp_path / "run")
    train(small_config(tmp_path / "run", "micro_batch=1"))
    same_losses(uninterrupted, tmp_path / "run")


@gloo
def test_a_run_goes_on_with_more_processes(one_pass, tmp_path):
    first_part(one_pass, tmp_path / "run")
    end(*start_together(tmp_path / "run", "micro_batch=1", processes=2))
    same_losses(one_pass, tmp_path / "run")


@gloo
def test_a_run_goes_on_with_fewer_processes(two_processes, tmp_path):
    first_part(two_processes, tmp_path / "run")
    train(small_config(tmp_path / "run"))
    same_losses(two_processes, tmp_path / "run")


def test_processes_that_would_train_alone_are_refused(tmp_path, monkeypatch):
    config = small_config(tmp_path)
    new_accelerator(config)  # a single process, whatever a launcher says later
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="started 2 processes, accelerate sees 1"):
        new_accelerator(config)


@pytest.mark.parametrize("device", ["meta", "cuda"])
def test_a_loaded_moving_average_stays_on_its_device(device):
    """Accelerate loads states to the CPU; `meta` is a device that every machine has."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    saved = MovingAverage([torch.nn.Parameter(torch.ones(3))], decay=0.5).state_dict()
    parameters = [torch.nn.Parameter(torch.zeros(3, device=device))]
    average = MovingAverage(parameters, decay=0.5, foreach=True)
    average.load_state_dict(saved)
    assert [tensor.device.type for tensor in average.shadow_params] == [device]
    average.step(parameters)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="batch is 4, which 1 process"):
        train(small_config(tmp_path / "run", "micro_batch=3"))


def test_another_configuration_does_not_mix_into_a_run(uninterrupted, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(uninterrupted, out)
    with pytest.raises(ConfigError, match="another learning_rate"):
        train(small_config(out, "learning_rate=0.5"))


def test_a_configuration_that_lacks_newer_keys_is_the_same_run(uninterrupted, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(uninterrupted, out)
    written = yaml.safe_load((out / "config.yaml").read_text())
    del written["edge_from"], written["augmentation"]["zoom"]
    (out / "config.yaml").write_text(yaml.safe_dump(written))
    assert train(small_config(out)) == out / "model.safetensors"


def test_the_loss_falls_on_few_samples(tmp_path):
    config = small_config(
        tmp_path, "data.samples=4", "steps=60", "drop=0", "checkpoint_every=1000",
        "learning_rate=0.005", "keep_samples=true", "micro_batch=4",
    )  # fmt: skip
    train(config)
    curve = logged(tmp_path, "train/loss")
    assert curve[60] < 0.5 * curve[10]


def test_the_running_mean_is_exported(tmp_path):
    train(small_config(tmp_path / "mean", "ema=0.5"))
    train(small_config(tmp_path / "last"))
    mean, last = weights(tmp_path / "mean"), weights(tmp_path / "last")
    changed = {key for key in mean if not torch.equal(mean[key], last[key])}
    assert "learnable_vector" in changed
    assert not any(key.startswith("first_stage_model") for key in changed)


VALIDATED = (
    "steps=2", "validation.data={kind: generated}", "validation.every=1",
    "validation.samples=2",    "validation.previews=2", "validation.steps=1",
)  # fmt: skip


@pytest.fixture
def another_precision():
    """Accelerate takes one precision per Python process; make it forget the one of other tests."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("another_precision")
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_validation_logs_losses_and_draws_previews(tmp_path, precision):
    small = ("resolution=64", "model.autoencoder_channels=[32,32,32]", "micro_batch=4")
    train(small_config(tmp_path, *VALIDATED, *small, f"precision={precision}"))
    assert set(logged(tmp_path, "validation/gap")) == {1, 2}
    with Image.open(tmp_path / "previews" / "step-00000002.png") as preview:
        assert preview.size == (5 * 64, 2 * 64)


def test_a_fault_in_validation_costs_no_update(tmp_path):
    config = small_config(tmp_path, *VALIDATED, "stage=autoencoder", "checkpoint_every=1")
    (tmp_path / "previews").write_text("a file where a folder should be")
    with pytest.raises(FileExistsError):
        train(config)
    assert (tmp_path / "checkpoints" / "step-00000001").is_dir()


def test_the_learning_rate_warms_up_and_decays(tmp_path):
    config = small_config(tmp_path, "steps=110", "warmup=10", "decay=cosine", "learning_rate=1")
    assert [learning_rate(config, step) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert learning_rate(config, 60) == pytest.approx(0.505)
    assert learning_rate(config, 110) == pytest.approx(0.01)
    constant = small_config(tmp_path, "steps=110", "warmup=10", "learning_rate=1")
    assert learning_rate(constant, 109) == 1.0
