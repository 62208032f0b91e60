"""What all nodes of the pack have in common."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

CATEGORY = "exemplar"

ExemplarEncoderSocket = io.Custom("EXEMPLAR_ENCODER")
ExemplarRegionSocket = io.Custom("EXEMPLAR_REGION")


def schema(**fields: Any) -> io.Schema:
    """A schema with the fields that this host knows; newer ones are left out on older hosts."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    fields = {"category": CATEGORY, **fields}
    return io.Schema(**{name: value for name, value in fields.items() if name in known})


class ExemplarNode(io.ComfyNode):
    """Base of the nodes: checks combo values, which hosts before 0.8 do not."""

    @classmethod
    def choice_error(cls, **values: str | None) -> str | None:
        """One sentence about the first value that its combo does not offer, or None.

        Values that come through a link are None while the host validates a prompt.
        """
        inputs = cls.define_schema().inputs
        options = {each.id: each.options for each in inputs if isinstance(each, io.Combo.Input)}
        for name, value in values.items():
            if value is not None and value not in options[name]:
                offered = ", ".join(map(str, options[name])) or "nothing yet"
                return f"{name} '{value}' is not available; choose one of: {offered}."
        return None

    @classmethod
    def require_choices(cls, **values: str) -> None:
        """Raise ValueError for a value that its combo does not offer."""
        if error := cls.choice_error(**values):
            raise ValueError(error)
