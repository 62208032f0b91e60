"""Tar shards (WebDataset): writing them, and samples as a stream from them.

They are for object storage, and for data sets of millions of files.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from webdataset.gopen import gopen
from webdataset.shardlists import expand_urls
from webdataset.tariterators import base_plus_ext, tarfile_samples
from webdataset.writer import TarWriter

from ...files import written_whole
from ..data_config import ShardData
from ..section import ConfigError
from .batches import BatchPlan
from .boxes import Array, usable
from .coco import Coco
from .dataset import MOST_SKIPPED
from .openimages import OpenImages
from .reading import read_picture
from .sample import Batch, Sample, collate, draw
from .sample_maker import SampleMaker
from .source import DataError, Picture, UnreadablePictureError

PICTURE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
SHARD_SAMPLES = 1_000_000
"""A sample's number is that of its shard × this + its position in the shard."""


@dataclass(frozen=True)
class Place:
    """Which samples of the stream a training process reads.

    Attributes:
        process: its number, from 0.
        processes: number of training processes.
        micro_batch: samples of a micro-batch.
        start: number of the first micro-batch to read, counted in this process.
        stop: number of the first not to read; None reads endlessly.
    """

    process: int = 0
    processes: int = 1
    micro_batch: int = 1
    start: int = 0
    stop: int | None = None


class ShardStream(IterableDataset[Sample]):
    """Samples as `ExemplarDataset` makes them, in the order of the shards.

    In each epoch the shards are shuffled and divided among the workers of all processes. Within a
    shard the order is that of the file, so shards must be written shuffled, as `write_shards` does.
    An unreadable picture is replaced by the next readable one and reported in `skipped`.

    A resumed stream continues exactly where it stopped if the numbers of processes and workers and
    the micro-batch are the same. To find that position it counts the samples of the shards before
    it: by the headers of local files, by reading all of others.
    """

    def __init__(
        self,
        config: ShardData,
        maker: SampleMaker,
        seed: int,
        latent_side: int,
        place: Place | None = None,
    ) -> None:
        self.urls: list[str] = expand_urls(config.urls)
        absent = [url for url in self.urls if _is_local(url) and not Path(url).is_file()]
        if absent:
            raise ConfigError(f"data.urls: there is no shard {absent[0]}; run write-shards first.")
        self.maker = maker
        self.seed = seed
        self.latent_side = latent_side
        self.place = place or Place()

    def fingerprint(self) -> str:
        """Hash of the shards' names, and of the sizes of local files."""
        about = [(Path(u).name, Path(u).stat().st_size if _is_local(u) else 0) for u in self.urls]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]

    def loader(
        self,
        plan: BatchPlan,
        *,
        process: int,
        workers: int,
        start: int,
        stop: int,
        pin_memory: bool = False,
    ) -> DataLoader[Batch]:
        """Micro-batches of one process from update `start` up to `stop`.

        Raises:
            ConfigError: there are more workers than shards.
        """
        streams = plan.processes * max(1, workers)
        if len(self.urls) < streams:
            raise ConfigError(
                f"data.urls names {len(self.urls)} shards for {streams} streams ({plan.processes} "
                f"processes × {max(1, workers)} workers); write smaller shards or lower workers."
            )
        place = Place(
            process,
            plan.processes,
            plan.micro_batch,
            start * plan.accumulation,
            stop * plan.accumulation,
        )
        stream = copy(self)
        stream.place = place
        return DataLoader(
            stream,
            batch_size=plan.micro_batch,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin_memory,
        )

    def __iter__(self) -> Iterator[Sample]:
        place = self.place
        info = get_worker_info()
        workers, own = (info.num_workers, info.id) if info else (1, 0)
        # The loader takes micro-batches from the workers in turn, beginning with worker 0. In an
        # uninterrupted run micro-batch k comes from worker k % workers, so after a resume worker 0
        # reads what the worker whose turn it is would have read.
        worker = (place.start + own) % workers
        stream = place.process * workers + worker
        done = len(range(worker, place.start, workers)) * place.micro_batch
        left = None
        if place.stop is not None:
            left = len(range(place.start + own, place.stop, workers)) * place.micro_batch
        entries = self._entries(stream, place.processes * workers, done)
        return islice(self._samples(entries), left)

    def _entries(
        self, stream: int, streams: int, done: int
    ) -> Iterator[tuple[int, int, dict[str, Any] | str]]:
        """Epoch, number and members of each sample of one stream, without the first `done` samples.

        Where a shard cannot be read to its end, the text of the error stands in place of members.
        """
        epoch = 0
        while True:
            seen = 0
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.urls))
            for shard in order[stream::streams]:
                url = self.urls[shard]
                if done and done >= (count := count_samples(url)):
                    done, seen = done - count, seen + count
                    continue
                errors: list[str] = []
                for position, members in enumerate(_members(url, errors)):
                    seen += 1
                    if position >= done:
                        yield epoch, int(shard) * SHARD_SAMPLES + position, members
                done = 0
                for error in errors:
                    yield epoch, -1, error
            if not seen:
                raise DataError("A whole epoch of shards holds no sample; check data.urls.")
            epoch += 1

    def _samples(
        self, entries: Iterator[tuple[int, int, dict[str, Any] | str]]
    ) -> Iterator[Sample]:
        waiting: list[tuple[int, int]] = []  # samples that get the next readable picture
        skipped: list[str] = []
        for epoch, number, members in entries:
            if isinstance(members, str):
                skipped.append(members)
                continue
            waiting.append((epoch, number))
            try:
                picture = _picture(members)
            except UnreadablePictureError as error:
                skipped.append(str(error))
                if len(waiting) == MOST_SKIPPED:
                    raise DataError(
                        f"{MOST_SKIPPED} pictures in a row cannot be used, the last because "
                        f"{error}; check data.urls."
                    ) from error
                continue
            for key in waiting:
                rng = np.random.default_rng((self.seed, *key, 0))
                draws = draw(self.seed, *key, self.latent_side)
                yield Sample(self.maker(picture, rng), draws, skipped)
                skipped = []
            waiting = []


@cache
def count_samples(url: str) -> int:
    """Number of samples in a shard; of a local file only the headers are read."""
    names: list[str] = []
    mode: Any = "r:*" if _is_local(url) else "r|*"
    try:
        opened: Any = gopen(url)
        with opened as file, tarfile.open(fileobj=file, mode=mode) as shard:
            for member in shard:
                if member.isreg():
                    names.append(member.name)
    except (OSError, EOFError, tarfile.TarError):
        names = names[:-1]  # the shard ends within the last member, which is not read either
    keys = [key for key in (base_plus_ext(name)[0] for name in names) if key is not None]
    return sum(1 for _ in groupby(keys))


def write_shards(
    source: OpenImages | Coco, folder: Path, *, per_shard: int = 4000, seed: int = 0
) -> list[str]:
    """Copy a source's files, shuffled, into `folder/000000.tar` and so on.

    A shard gets its name only when it is complete, and complete shards are kept, so that an
    interrupted call continues where it stopped.

    Args:
        source: of picture files; outlines of objects are not copied.
        folder: where the shards go.
        per_shard: pictures in a shard.
        seed: of the order.

    Returns:
        For each picture that was left out of the shards that this call wrote, the reason.

    Raises:
        ConfigError: the folder holds shards of other pictures or another order.
    """
    about = {"data": source.fingerprint(), "per_shard": per_shard, "seed": seed}
    description = folder / "shards.json"
    folder.mkdir(parents=True, exist_ok=True)
    if description.is_file() and json.loads(description.read_text()) != about:
        raise ConfigError(
            f"{folder} holds shards of other pictures or sizes; choose another folder."
        )
    description.write_text(json.dumps(about))
    skipped: list[str] = []
    order = np.random.default_rng(seed).permutation(len(source))
    for number, first in enumerate(range(0, len(order), per_shard)):
        target = folder / f"{number:06d}.tar"
        if not target.is_file():
            with written_whole(target) as unfinished:
                skipped += _write_shard(source, order[first : first + per_shard], unfinished)
    return skipped


def _write_shard(source: OpenImages | Coco, indices: Array, path: Path) -> list[str]:
    skipped: list[str] = []
    with path.open("wb") as file, TarWriter(file, mtime=0) as shard:
        for index in indices:
            picture = source.file(int(index))
            try:
                content = picture.path.read_bytes()
            except OSError as error:
                skipped.append(f"{picture.path}: {error.strerror}")
                continue
            suffix = picture.path.suffix[1:].lower()
            about = {"boxes": picture.boxes.tolist()}
            shard.write({"__key__": picture.name, suffix: content, "json": about})
    return skipped


def _members(url: str, errors: list[str]) -> Iterator[dict[str, Any]]:
    """Files of each sample by suffix; an error ends the shard and is added to `errors`."""

    def note(error: Exception) -> bool:
        errors.append(f"{url}: {error.args[0] if error.args else error}")
        return False

    return iter(tarfile_samples([{"url": url}], handler=note))


def _picture(members: dict[str, Any]) -> Picture:
    name = f"{members['__key__']} of {Path(members['__url__']).name}"
    try:
        content = next(members[suffix] for suffix in PICTURE_SUFFIXES if suffix in members)
        boxes = np.array(json.loads(members["json"])["boxes"], float).reshape(-1, 4)
    except (StopIteration, KeyError, ValueError, TypeError) as error:
        raise UnreadablePictureError(f"{name}: no picture with boxes ({error!r})") from error
    return read_picture(io.BytesIO(content), name, boxes[usable(boxes)])


def _is_local(url: str) -> bool:
    return "://" not in url and not url.startswith("pipe:")
