"""A command line that tells what a user can mend in one sentence, without a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from ..errors import UserError


class Commands(TyperGroup):
    """Commands whose `UserError` is one sentence, and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (UserError, PermissionError) as error:
            if ctx.params["rank"] == 0:
                # a worker process of a DataLoader adds its traceback before the sentence
                sentence = str(error).rsplit(f"{type(error).__name__}: ", 1)[-1].strip()
                Console(stderr=True, soft_wrap=True).print(Text(sentence, "red"))
            raise typer.Exit(1) from None


def new_application(about: str, *commands: Callable[..., None]) -> typer.Typer:
    """A command line of functions, each a command of its name."""
    application = typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    # under torchrun, which sets RANK, the first of several processes speaks for all
    def group(rank: Annotated[int, typer.Option(envvar="RANK", hidden=True)] = 0) -> None:
        pass

    application.callback(help=about)(group)
    for command in commands:
        application.command()(command)
    return application
