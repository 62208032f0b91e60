"""The command line: `python -m exemplar_model COMMAND`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer import Typer

EXTRAS = {
    "diffusers": "standalone",
    "rich": "standalone",
    "typer": "standalone",
    "ray": "bulk",
    "fsspec": "bulk",
    "accelerate": "train",
    "pydantic": "train",
    "tensorboard": "train",
    "webdataset": "train",
    "yaml": "train",
}
"""Packages that a ComfyUI may not have, and the extra of this project that installs them."""


def command_line() -> Typer:
    """All commands; painting and training import what they need when they run.

    Raises:
        ModuleNotFoundError: a package of the extra `standalone` is missing.
    """
    from .standalone import commands as files
    from .standalone.application import new_application
    from .standalone.bulk.command import paint
    from .training import commands as training

    return new_application(
        "Paint tables of pictures, train Paint by Example, and look into and convert its files.",
        paint,
        training.train,
        training.export,
        training.encode_samples,
        training.contact_sheet,
        training.write_shards,
        files.convert,
        files.inspect,
    )


def main() -> None:
    """Run a command; a missing package is told in one sentence, with what installs it."""
    try:
        command_line()(prog_name="python -m exemplar_model")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        sys.exit(
            f"The package {package} is not installed; "
            f'install it by pip install "paint-by-example[{EXTRAS[package]}]".'
        )


if __name__ == "__main__":
    main()
