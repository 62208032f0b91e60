"""Differences between versions of the host."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def call_supported(function: Callable[..., T], *args: Any, **optional: Any) -> T:
    """Call with those optional keywords that this version of the host knows."""
    known = inspect.signature(function).parameters
    return function(*args, **{name: value for name, value in optional.items() if name in known})
