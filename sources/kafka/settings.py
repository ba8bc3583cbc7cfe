"""The YAML of a `type: kafka` source."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sources.protocol import AssetLists, Resource


class KafkaSource(BaseModel):
    """A source block of `type: kafka`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: Literal["kafka"]
    optional: bool = False
    resources: dict[str, Any] = {}

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:
        """Return what this source can extract; light, builds nothing."""
        return []
