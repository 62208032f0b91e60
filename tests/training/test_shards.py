"""Tar shards: written whole, read by every worker once, and resumed at the same sample."""

import io
import json
import tarfile

import pytest
import torch
from support.photos import write_open_images
from support.training import equal_samples, small_config

from exemplar_model.training.data.batches import BatchPlan
from exemplar_model.training.data.dataset import ExemplarDataset
from exemplar_model.training.data.open import open_dataset, open_training_data
from exemplar_model.training.data.openimages import OpenImages
from exemplar_model.training.data.sample import collate
from exemplar_model.training.data.sample_maker import SampleMaker
from exemplar_model.training.data.shards import Place, ShardStream, count_samples, write_shards
from exemplar_model.training.data_config import Augmentation, OpenImagesData, ShardData
from exemplar_model.training.section import ConfigError

PICTURES, PER_SHARD = 37, 5  # 8 shards, the last of 2
MAKER = SampleMaker(Augmentation(), 16, 16)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    data = write_open_images(tmp_path_factory.mktemp("pictures"), PICTURES)
    return OpenImages(OpenImagesData.model_validate(data))


@pytest.fixture(scope="module")
def shards(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    assert write_shards(source, folder, per_shard=PER_SHARD, seed=3) == []
    return folder


def data_of(folder, last=7):
    return ShardData(kind="shards", urls=f"{folder}/{{000000..{last:06d}}}.tar")


def stream(folder, seed=1, **options):
    return ShardStream(data_of(folder), MAKER, seed, latent_side=2, **options)


def batches(folder, plan, start, stop, workers=0, process=0):
    loader = stream(folder).loader(plan, process=process, workers=workers, start=start, stop=stop)
    return list(loader)


def names(shard):
    with tarfile.open(shard) as opened:
        return [name[:-4] for name in opened.getnames() if name.endswith(".jpg")]


def keys(folder, process=0, processes=1, workers=1):
    """(epoch, sample number) of the first epoch of each worker of a process."""
    found = []
    for worker in range(workers):
        place = Place(process, processes)
        entries = stream(folder)._entries(
            place.process * workers + worker, place.processes * workers, 0
        )
        for epoch, number, _ in entries:
            if epoch:
                break
            found.append(number)
    return found


def test_shards_hold_the_original_files_and_boxes(source, shards):
    found = {}
    for shard in sorted(shards.glob("*.tar")):
        with tarfile.open(shard) as opened:
            for member in opened:
                found[member.name] = opened.extractfile(member).read()
    assert len(found) == 2 * PICTURES
    for index in range(PICTURES):
        file = source.file(index)
        assert found[f"{file.name}.jpg"] == file.path.read_bytes()
        assert json.loads(found[f"{file.name}.json"]) == {"boxes": file.boxes.tolist()}
    order = [name for shard in sorted(shards.glob("*.tar")) for name in names(shard)]
    assert sorted(order) == [f"id{number:02d}" for number in range(PICTURES)] != order


def test_an_interrupted_writing_goes_on(source, shards, tmp_path):
    write_shards(source, tmp_path, per_shard=PER_SHARD, seed=3)
    kept = tmp_path / "000001.tar"
    kept.write_bytes(b"finished before")
    (tmp_path / "000002.tar").unlink()
    (tmp_path / "000002.tar.unfinished").write_bytes(b"half a shard")
    write_shards(source, tmp_path, per_shard=PER_SHARD, seed=3)
    assert kept.read_bytes() == b"finished before"
    assert (tmp_path / "000002.tar").read_bytes() == (shards / "000002.tar").read_bytes()
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(f.name for f in shards.iterdir())


def test_two_ways_of_cutting_do_not_mix(source, shards):
    with pytest.raises(ConfigError, match="other pictures or sizes"):
        write_shards(source, shards, per_shard=PER_SHARD + 1, seed=3)


def test_missing_files_are_left_out_and_told(tmp_path):
    source = OpenImages(OpenImagesData.model_validate(write_open_images(tmp_path, 3)))
    (tmp_path / "images" / "id01.jpg").unlink()
    (reason,) = write_shards(source, tmp_path / "shards")
    assert "id01.jpg" in reason
    assert sorted(names(tmp_path / "shards" / "000000.tar")) == ["id00", "id02"]


def test_samples_look_like_those_of_the_folder(source, shards):
    sample = next(iter(stream(shards)))
    other = ExemplarDataset(source, MAKER, 1, 2)[0, 0]
    collate([sample, other])  # shapes agree
    assert sample.pictures.object is other.pictures.object is None


def test_every_sample_is_seen_once_by_two_processes_of_two_workers(shards):
    parts = [keys(shards, process, 2, 2) for process in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(keys(shards))
    assert len(set(keys(shards))) == PICTURES
    assert min(map(len, parts)) >= 2 * PER_SHARD


def test_the_loaders_share_an_epoch(source, shards):
    """Noise follows from the sample's number: equal noise would be a sample read twice."""
    seen = []
    for process in range(2):
        for batch in batches(shards, BatchPlan(2, 1, 2), 0, 14, workers=2, process=process):
            seen += batch.draws.noise[:, 0, 0, 0].tolist()
    assert len(set(seen)) == 28


def test_epochs_differ_and_seeds_too(shards):
    place = Place(stop=2 * PICTURES)
    numbers = [sample.draws.noise[0, 0, 0].item() for sample in stream(shards, place=place)]
    assert len(set(numbers)) == 2 * PICTURES
    again = [sample.draws.noise[0, 0, 0].item() for sample in stream(shards, place=place)]
    assert again == numbers
    other = [sample.draws.noise[0, 0, 0].item() for sample in stream(shards, seed=2, place=place)]
    assert not set(other) & set(numbers)


@pytest.mark.parametrize(
    "workers, start",
    # with two workers, an odd start has the other worker's turn; 21 is in the second epoch
    [(0, 4), (2, 1), (2, 4), (2, 21)],
)
def test_resume_is_exact(shards, workers, start):
    plan = BatchPlan(2, 2, 1)
    whole = batches(shards, plan, 0, 24, workers)
    rest = batches(shards, plan, start, 24, workers)
    assert len(whole) == 24 and len(rest) == 24 - start
    assert all(map(equal_samples, whole[start:], rest))


def test_accumulated_micro_batches_count(shards):
    accumulated = batches(shards, BatchPlan(6, 2, 1), 1, 3)
    assert len(accumulated) == 6  # two updates of three passes
    single = batches(shards, BatchPlan(2, 2, 1), 3, 9)
    assert all(map(equal_samples, accumulated, single))


def test_unreadable_members_are_replaced_and_reported(tmp_path, source, shards):
    write_shards(source, tmp_path, per_shard=PER_SHARD, seed=3)
    last = names(shards / "000007.tar")[-1]
    bad = [names(shards / "000001.tar")[1], last]
    for number in (1, 7):
        _spoil(tmp_path / f"{number:06d}.tar", bad)
    plan = BatchPlan(1, 1, 1)
    whole = batches(tmp_path, plan, 0, PICTURES)
    assert all(torch.isfinite(batch.pictures.image).all() for batch in whole)
    reasons = [reason for batch in whole for reason in batch.skipped]
    assert sorted(reason.split(" of ")[0] for reason in reasons) == sorted(bad)
    # positions stay what they are, so a resume right behind a bad one is exact, too
    for start in range(1, PICTURES):
        (resumed,) = batches(tmp_path, plan, start, start + 1)
        assert torch.equal(resumed.pictures.image, whole[start].pictures.image)


def _spoil(shard, bad):
    with tarfile.open(shard) as opened:
        members = [(member, opened.extractfile(member).read()) for member in opened]
    with tarfile.open(shard, "w") as spoiled:
        for member, content in members:
            if member.name[:-4] in bad and member.name.endswith(".jpg"):
                content = bytes(len(content))
            spoiled.addfile(member, io.BytesIO(content))


def test_a_cut_shard_is_read_up_to_the_cut(tmp_path, source):
    write_shards(source, tmp_path, per_shard=PER_SHARD, seed=3)
    shard = tmp_path / "000001.tar"
    with tarfile.open(shard) as opened:
        third = opened.getmembers()[4]  # the picture of the third sample
    shard.write_bytes(shard.read_bytes()[: third.offset_data + 100])
    assert count_samples(str(shard)) == 2
    place = Place(stop=PICTURES - 3 + 1)  # one more, so that the end of each shard was seen
    samples = list(stream(tmp_path, place=place))
    (reason,) = [reason for sample in samples for reason in sample.skipped]
    assert "000001.tar: unexpected end of data" in reason
    resumed = list(stream(tmp_path, place=Place(start=30, stop=PICTURES - 2)))
    assert torch.equal(samples[30].pictures.image, resumed[0].pictures.image)


def test_nothing_but_bad_shards_ends_the_run(tmp_path):
    for number in range(8):
        (tmp_path / f"{number:06d}.tar").write_bytes(b"no tar")
    with pytest.raises(RuntimeError, match="holds no sample"):
        next(iter(stream(tmp_path)))


def test_too_few_shards_for_the_workers(shards):
    with pytest.raises(ConfigError, match="8 shards for 12 streams"):
        stream(shards).loader(BatchPlan(6, 1, 3), process=0, workers=4, start=0, stop=1)


def test_absent_shards_are_an_error(shards):
    with pytest.raises(ConfigError, match=r"there is no shard .*000008\.tar"):
        ShardStream(data_of(shards, last=8), MAKER, 1, 2)


def test_shards_are_for_training_only(shards, tmp_path):
    data = {"kind": "shards", "urls": data_of(shards).urls}
    config = small_config(tmp_path, f"data={json.dumps(data)}")
    opened = open_training_data(config)
    assert opened.fingerprint() == stream(shards).fingerprint()
    with pytest.raises(ConfigError, match="cannot be read in any order"):
        open_dataset(config, config.data)
    for override in ("keep_samples=true", "stage=autoencoder"):
        numbered = small_config(tmp_path, f"data={json.dumps(data)}", override)
        with pytest.raises(ConfigError, match="cannot be read in any order"):
            open_training_data(numbered)
