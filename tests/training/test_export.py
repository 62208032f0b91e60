"""From any checkpoint to one file, and samples that were encoded before."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from support.photos import write_open_images
from support.training import small_config, weights

from exemplar_model.standalone.components import Components
from exemplar_model.training.data.open import open_dataset
from exemplar_model.training.encode import encode_samples
from exemplar_model.training.engine import train
from exemplar_model.training.export import export_checkpoint
from exemplar_model.training.section import ConfigError
from exemplar_model.weights.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "run"
    train(small_config(out, "steps=4", "checkpoint_every=2", "ema=0.5"))
    return out


def read(path):
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


def test_the_newest_checkpoint_is_the_exported_model(trained, tmp_path):
    export_checkpoint(trained, tmp_path / "model.safetensors", "fp16")
    tensors, metadata = read(tmp_path / "model.safetensors")
    final = weights(trained)
    assert tensors.keys() == final.keys()
    assert all(torch.equal(tensors[key], final[key]) for key in final)
    assert metadata["step"] == "4"
    assert metadata["data"] == "shapes-512"
    assert json.loads(metadata["config"])["model"]["unet_channels"] == [32, 32]
    assert json.loads(metadata["exemplar_model"]) == {"unet_heads": 8, "vision_heads": 2}


def test_an_earlier_checkpoint_can_be_exported_in_full_precision(trained, tmp_path):
    target = tmp_path / "early.safetensors"
    export_checkpoint(trained / "checkpoints" / "step-00000002", target, "fp32")
    tensors, metadata = read(target)
    assert metadata["step"] == "2"
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert not torch.equal(
        tensors["learnable_vector"], weights(trained)["learnable_vector"].float()
    )
    Components.from_checkpoint(read_checkpoint(target))


def test_a_checkpoint_is_exported_without_its_data(tmp_path):
    data = write_open_images(tmp_path / "data", 6)
    out = tmp_path / "run"
    train(small_config(out, f"data={json.dumps(data)}", "steps=2"))
    fingerprint = read(out / "model.safetensors")[1]["data"]
    assert fingerprint
    shutil.rmtree(tmp_path / "data")
    export_checkpoint(out, tmp_path / "model.safetensors", "fp16")
    tensors, metadata = read(tmp_path / "model.safetensors")
    assert metadata["data"] == fingerprint
    assert all(torch.equal(tensors[key], tensor) for key, tensor in weights(out).items())


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/step-00000099"])
def test_what_is_no_run_is_refused(tmp_path, place):
    with pytest.raises(ConfigError, match="neither a run nor one of its finished checkpoints"):
        export_checkpoint(tmp_path / place, tmp_path / "model.safetensors", "fp16")
    assert not (tmp_path / "model.safetensors").exists()


def test_training_on_encoded_samples_starts_with_the_same_loss(tmp_path, monkeypatch):
    from support.training import logged

    direct = small_config(tmp_path / "direct", "data.samples=8", "steps=1")
    train(direct)
    torch.manual_seed(direct.seed)
    export_checkpoint(tmp_path / "direct", tmp_path / "start.safetensors", "fp32")
    parts = f"init.model={tmp_path / 'start.safetensors'}"

    config = small_config(tmp_path / "a", "data.samples=8", "steps=1", parts)
    encode_samples(config, open_dataset(config, config.data), tmp_path / "samples")
    train(config)
    encoded = small_config(
        tmp_path / "b", f"data={{kind: encoded, folder: {tmp_path / 'samples'}}}", "steps=1", parts
    )
    train(encoded)
    one, other = logged(tmp_path / "a", "train/loss")[1], logged(tmp_path / "b", "train/loss")[1]
    assert other == pytest.approx(one, rel=1e-2)  # moments are kept in fp16


def test_encoding_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("exemplar_model.training.data.encoded.PER_FILE", 4)
    config = small_config(tmp_path / "run", "data.samples=10")
    folder = tmp_path / "samples"
    dataset = open_dataset(config, config.data)
    torch.manual_seed(0)
    encode_samples(config, dataset, folder)
    kept, lost = folder / "part-00000000.safetensors", folder / "part-00000004.safetensors"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    encode_samples(config, dataset, folder)
    assert kept.stat().st_mtime_ns == before
    assert lost.is_file()
    assert json.loads((folder / "samples.json").read_text())["samples"] == 10
    encoded = small_config(tmp_path / "b", f"data={{kind: encoded, folder: {folder}}}")
    assert len(open_dataset(encoded, encoded.data)) == 10


def test_samples_of_another_configuration_are_not_mixed(tmp_path):
    config = small_config(tmp_path / "run", "data.samples=8")
    folder = tmp_path / "samples"
    encode_samples(config, open_dataset(config, config.data), folder)
    other = small_config(tmp_path / "run", "data.samples=8", "augmentation.jitter=1")
    with pytest.raises(ConfigError, match="holds samples with another augmentation"):
        encode_samples(other, open_dataset(other, other.data), folder)


def test_samples_that_other_weights_encoded_are_refused(tmp_path):
    config = small_config(tmp_path / "run", "data.samples=8")
    folder = tmp_path / "samples"
    encode_samples(config, open_dataset(config, config.data), folder)
    export_run = small_config(tmp_path / "other", "steps=1")
    train(export_run)
    model = f"init.model={tmp_path / 'other' / 'model.safetensors'}"
    encoded = small_config(tmp_path / "b", f"data={{kind: encoded, folder: {folder}}}", model)
    with pytest.raises(ConfigError, match="were encoded with another init"):
        open_dataset(encoded, encoded.data)


def test_an_autoencoder_is_not_exported_before_its_normalisation_is_in(tmp_path):
    out = tmp_path / "run"
    train(
        small_config(
            out, "stage=autoencoder", "steps=8", "checkpoint_every=2", "keep_checkpoints=9"
        )
    )
    with pytest.raises(
        ConfigError, match="still being faded in; export a checkpoint from update 4 on"
    ):
        export_checkpoint(out / "checkpoints" / "step-00000002", tmp_path / "a.safetensors", "fp16")
    assert not (tmp_path / "a.safetensors").exists()
    export_checkpoint(out / "checkpoints" / "step-00000004", tmp_path / "a.safetensors", "fp16")


def test_unfinished_samples_are_refused(tmp_path):
    config = small_config(tmp_path / "run", f"data={{kind: encoded, folder: {tmp_path}}}")
    with pytest.raises(ConfigError, match="run encode-samples, which continues"):
        open_dataset(config, config.data)
