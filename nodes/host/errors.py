"""Users' mistakes as the host shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...exemplar_model.errors import UserError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise a UserError as ValueError.

    The host shows the type of an exception before its message, and of types that are no builtins
    also the module, which for a custom node is a path of the user's disk.
    """
    try:
        yield
    except UserError as error:
        raise ValueError(str(error)) from error
