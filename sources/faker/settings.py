"""The YAML of a `type: faker` source."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sources.protocol import AssetLists, Resource


class FakerSource(BaseModel):
    """A source block of `type: faker`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: Literal["faker"]
    optional: bool = False
    resources: dict[str, Any] = {}

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:
        """Return what this source can extract; light, builds nothing."""
        return []
