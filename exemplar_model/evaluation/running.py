"""Painting a set picture by picture, and the table of methods and baselines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from ..errors import UserError
from ..files import written_whole
from .baselines import BASELINES
from .painting import EvaluatedModel
from .report import Scored, write_report
from .scoring import Method, ScoringConfig, score
from .sets import Item


def paint_set(
    name: str,
    model: EvaluatedModel,
    items: Sequence[Item],
    seeds: Sequence[int],
    out: Path,
    settings: dict[str, str],
    tell: Callable[[str], None],
) -> Method:
    """Paint all pictures that are not there yet, into OUT/NAME/seed-N/ID.png.

    Args:
        name: of the method.
        model: with its settings.
        items: the set.
        seeds: of each run over the set.
        out: folder of the evaluation.
        settings: what the pictures depend on.
        tell: takes a line about the progress.

    Raises:
        UserError: the folder holds pictures of other settings.
    """
    folder = out / name
    _bind(folder, settings)
    folders = [folder / f"seed-{seed}" for seed in seeds]
    for target, seed in zip(folders, seeds, strict=True):
        for number, item in enumerate(items, start=1):
            file = target / f"{item.id}.png"
            if not file.is_file():
                _save(model.paint(item, seed), file)
                tell(f"{name}, seed {seed}: {number} of {len(items)}")
    return Method(name, folders)


def evaluate(
    methods: Sequence[Method],
    items: Sequence[Item],
    config: ScoringConfig,
    out: Path,
    settings: dict[str, str],
) -> Path:
    """Score methods and baselines, and write the report; returns its path."""
    baselines: list[Method] = []
    for name, make in BASELINES.items():
        folder = out / "baselines" / name
        for item in items:
            _save(make(item), folder / f"{item.id}.png")
        baselines.append(Method(name, [folder]))
    scored = [Scored(each, score(each, items, config)) for each in [*methods, *baselines]]
    mixture = {"mixture of QS": config.mixture.fitted_on} if config.mixture else {}
    return write_report(out, items, scored, {**settings, "pictures": str(len(items)), **mixture})


def _bind(folder: Path, settings: dict[str, str]) -> None:
    file = folder / "settings.json"
    text = json.dumps(settings, indent=1)
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise UserError(f"{folder} holds pictures of other settings; name another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(file) as unfinished:
        picture.save(unfinished, "PNG")
