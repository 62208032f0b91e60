"""How the nodes of a workflow in UI format lie on the canvas."""

from __future__ import annotations

from itertools import combinations
from typing import Any

TITLE = 30
"""Pixels above a node's position in which the front end draws its title."""

Box = tuple[float, float, float, float]


def box(node: dict[str, Any]) -> Box:
    """Left, top, right, bottom of a node."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


def overlapping(workflow: dict[str, Any]) -> list[tuple[str, str]]:
    """Types of nodes that lie on top of each other, in pairs."""

    def meet(a: Box, b: Box) -> bool:
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

    pairs = combinations(workflow["nodes"], 2)
    return [(one["type"], other["type"]) for one, other in pairs if meet(box(one), box(other))]


def outside_of_groups(workflow: dict[str, Any]) -> list[str]:
    """Types of nodes that stand in no group."""
    groups = [
        (x, y, x + width, y + height)
        for x, y, width, height in (group["bounding"] for group in workflow["groups"])
    ]

    def inside(node: Box, group: Box) -> bool:
        return (
            group[0] <= node[0]
            and group[1] <= node[1]
            and node[2] <= group[2]
            and node[3] <= group[3]
        )

    return [
        node["type"]
        for node in workflow["nodes"]
        if not any(inside(box(node), group) for group in groups)
    ]
