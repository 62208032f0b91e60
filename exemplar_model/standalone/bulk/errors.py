"""What stops a run, and what only costs a row."""

from __future__ import annotations

from ...errors import UserError


class BulkError(UserError, ValueError):
    """The run cannot start or go on; the message names the cause and the cure in one sentence."""


class RowError(ValueError):
    """One row cannot be painted; the message is the reason that the user reads."""


def reason_of(error: Exception) -> str:
    """The first line of an error's message, or its kind if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
