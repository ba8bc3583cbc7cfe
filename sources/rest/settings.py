"""The YAML of a `type: rest` source."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sources.protocol import AssetLists, Resource


class RestSource(BaseModel):
    """A source block of `type: rest`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: Literal["rest"]
    optional: bool = False
    resources: dict[str, Any] = {}

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:
        """Return what this source can extract; light, builds nothing."""
        return []
