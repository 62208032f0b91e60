"""For this repository alone: nothing here ships to users, and nothing that ships imports it."""

from pathlib import Path

PACK = Path(__file__).resolve().parents[1]
"""The root of the repository, which is a node pack as it stands."""
