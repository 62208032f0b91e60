"""Errors that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that a user can mend; the message names cause and cure in one sentence.

    The command line shows the message alone, nodes raise it as a plain ValueError.
    """
