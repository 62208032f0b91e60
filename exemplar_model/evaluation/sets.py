"""Sets of pictures to paint into, each a table of where its files lie."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError


@dataclass(frozen=True)
class Layout:
    """Where the files of a set lie in its folder, and where the set comes from.

    Attributes:
        source: what to get, and how.
        files: pattern of each kind of file; {id} stands for the picture's id. exemplar_mask is
            optional.
        ids: the file that lists the ids, or the pattern that finds one file for each.
    """

    source: str
    files: dict[str, str]
    ids: str

    def items(self, folder: Path) -> list[Item]:
        """All pictures that the set should have, whether their files are there or not.

        Raises:
            UserError: nothing tells the ids.
        """
        ids = self._ids(folder)
        if not ids:
            raise UserError(f"{folder} holds nothing named {self.ids}; {self.source}")
        return [
            Item(
                each,
                self._file(folder, "image", each),
                self._file(folder, "mask", each),
                self._file(folder, "exemplar", each),
                shape if (shape := self._file(folder, "exemplar_mask", each)).is_file() else None,
            )
            for each in ids
        ]

    def _ids(self, folder: Path) -> list[str]:
        if self.ids.endswith(".npy"):
            file = folder / self.ids
            try:
                return [f"{number:012}" for number in np.load(file)] if file.is_file() else []
            except ValueError as error:
                raise UserError(f"{file} is no list of ids; {self.source}") from error
        found = sorted(folder.glob(self.ids))
        if self.ids.endswith("/bg*"):
            return list(dict.fromkeys(each.parent.relative_to(folder).as_posix() for each in found))
        return [each.stem for each in found]

    def _file(self, folder: Path, kind: str, name: str) -> Path:
        """The first file of the pattern; the pattern itself if there is none."""
        found = sorted(folder.glob(self.files[kind].format(id=glob.escape(name))))
        return found[0] if found else folder / self.files[kind].format(id=name)


@dataclass(frozen=True)
class Item:
    """One picture of a set.

    Attributes:
        id: its name in the set, also that of its results.
        image: to paint into.
        mask: white = repaint.
        exemplar: the object to paint.
        exemplar_mask: white = the object; None where the set has none.
    """

    id: str
    image: Path
    mask: Path
    exemplar: Path
    exemplar_mask: Path | None = None

    def missing(self) -> list[Path]:
        """Files that are not there."""
        return [file for file in (self.image, self.mask, self.exemplar) if not file.is_file()]


SETS = {
    "cocoee": Layout(
        "get COCOEE, the test benchmark in the README of Fantasy-Studio/Paint-by-Example (a Google "
        "Drive link), and id_list.npy of its folder test_bench; ref_mask, of the data preparation "
        "of bcmi/Awesome-Generative-Image-Composition, is optional.",
        {
            "image": "GT_3500/{id}_GT.png",
            "mask": "Mask_bbox_3500/{id}_mask.png",
            "exemplar": "Ref_3500/{id}_ref.png",
            "exemplar_mask": "ref_mask/{id}_ref.png",
        },
        "id_list.npy",
    ),
    "tf-icon": Layout(
        "get the test benchmark that the README of Shilin-LU/TF-ICON links; every sample is a "
        "folder of bg*, fg*, fg*_mask and mask_bg_fg.",
        {
            "image": "{id}/bg*.*",
            "mask": "{id}/mask_bg_fg.*",
            "exemplar": "{id}/fg*[!k].*",  # not fg*_mask
            "exemplar_mask": "{id}/fg*_mask.*",
        },
        "**/bg*",
    ),
    "folder": Layout(
        "put your pictures into image/, the masks (white = repaint) into mask/ and the exemplars "
        "into exemplar/, under equal names, masks of the exemplars' objects into exemplar_mask/.",
        {
            "image": "image/{id}.*",
            "mask": "mask/{id}.*",
            "exemplar": "exemplar/{id}.*",
            "exemplar_mask": "exemplar_mask/{id}.*",
        },
        "image/*",
    ),
}


def open_set(name: str, folder: Path) -> list[Item]:
    """The pictures of a set that is whole.

    Raises:
        UserError: unknown set, or files are missing.
    """
    items = layout_of(name).items(folder)
    missing = [file for item in items for file in item.missing()]
    if missing:
        raise UserError(
            f"{len(missing)} files of {name} are missing in {folder}, such as {missing[0]}; "
            f"`evaluate check {name} {folder}` lists them."
        )
    return items


def layout_of(name: str) -> Layout:
    """The layout of a set.

    Raises:
        UserError: there is none of that name.
    """
    if name not in SETS:
        raise UserError(f"There is no set {name}; choose one of {', '.join(SETS)}.")
    return SETS[name]
