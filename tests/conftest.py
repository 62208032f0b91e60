"""Makes the project importable as users' tools see it, without shadowing the host's modules."""

import sys
from pathlib import Path

import pytest

# append, not insert: our folder `nodes` must not come before ComfyUI's module of that name
sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that processes side by side end together: folders hold these."""
    items.sort(key=lambda item: -len(item.path.parts))
