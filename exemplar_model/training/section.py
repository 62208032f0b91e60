"""What every section of a configuration has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ..errors import UserError


class ConfigError(UserError, ValueError):
    """The configuration cannot be used; the message names the key and the cure."""


class Section(BaseModel):
    """A group of keys; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
