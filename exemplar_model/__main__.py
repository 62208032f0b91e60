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
    "jinja2": "evaluate",
    "matplotlib": "evaluate",
    "sklearn": "evaluate",
    "torch_fidelity": "evaluate",
    "torchmetrics": "evaluate",
    "accelerate": "train",
    "pyarrow": "train",
    "pycocotools": "train",
    "pydantic": "train",
    "tensorboard": "train",
    "torchvision": "train",
    "webdataset": "train",
    "yaml": "train",
}
"""Packages that a ComfyUI may not have, and the extra of this project that installs them."""


def command_line() -> Typer:
    """All commands; those that need much import it when they run.

    Raises:
        ModuleNotFoundError: a package of the extra `standalone` is missing.
    """
    from .evaluation import commands as evaluation
    from .standalone import commands as files
    from .standalone.application import new_application
    from .standalone.bulk.command import paint
    from .training import commands as training

    application = new_application(
        "Paint tables of pictures; train and measure models; convert and inspect their files.",
        paint,
        training.train,
        training.export,
        training.encode_samples,
        training.contact_sheet,
        training.write_shards,
        files.convert,
        files.inspect,
    )
    about = "Measure a model, or results, as the paper does."
    application.add_typer(evaluation.application(), name="evaluate", help=about)
    return application


def main() -> None:
    """Run a command; a missing package is told in one sentence, with what installs it."""
    try:
        command_line()(prog_name="python -m exemplar_model")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        sys.exit(
            f"The package {package} is not installed; install it in the folder of this pack, by "
            f'pip install -e ".[{EXTRAS[package]}]".'
        )


if __name__ == "__main__":
    main()
