"""Prompts that must fail."""

from __future__ import annotations

from typing import Any

import pytest

from lab.host.graphs import Graph, Run
from lab.host.headless import Host, HostError


def refused(host: Host, graph: Graph) -> str:
    """The message of a prompt that must fail, with an exception that has a plain name.

    The host shows the type first, and of types that are no builtins a path of the user's disk.
    """
    types: list[str] = []

    def note_type(kind: str, data: dict[str, Any]) -> None:
        if kind == "execution_error":
            types.append(data["exception_type"])

    with pytest.raises(HostError) as failure:
        Run(host, graph, note_type)
    assert set(types) <= {"ValueError", "FileNotFoundError"}  # none if it was refused unrun
    return str(failure.value)
