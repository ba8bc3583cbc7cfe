"""The YAML of a `type: kafka` source. Its settings are checked today; reading topics comes later and says so."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.errors import SourceError
from engine.table import Table
from sources.columns import ColumnSettings, ContractSettings, columns_of
from sources.protocol import AssetLists, Resource, SourceContext


class KafkaTopic(BaseModel):
    """One topic, and the table it fills (the topic's name by default)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str | None = Field(default=None, description="landed table; the topic's name by default")
    columns: dict[str, ColumnSettings] = Field(default={}, description="declared columns; others are kept beside them")
    primary_key: list[str] = Field(
        default=[], description="columns that name a row; every delivery is kept all the same"
    )
    contract: ContractSettings = Field(default=ContractSettings(), description="what may change in what is delivered")


class KafkaSource(BaseModel):
    """A source block of `type: kafka`: brokers, and topics as resources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["kafka"] = Field(description="topics of a Kafka cluster; checked today, not read yet")
    optional: bool = Field(default=False, description="true: skipped with one line where a ${NAME} of it is not set")
    brokers: str = Field(description="host:port of one or more brokers, separated by commas")
    group: str = Field(default="tickhouse", description="consumer group")
    resources: dict[str, KafkaTopic] = Field(description="topics by name")

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:  # noqa: ARG002 - topics follow no assets
        """Return one resource a topic; light, connects to nothing."""

        def build(ctx: SourceContext) -> object:
            raise SourceError(
                ctx.source,
                "Kafka topics are not available yet",
                "Unset the brokers' variable, or leave this source out of `extract`, until streaming arrives.",
                terminal=True,
            )

        return [
            Resource(
                name=topic,
                table=Table(
                    name=settings.table or topic,
                    columns=columns_of(settings.columns),
                    primary_key=tuple(settings.primary_key),
                    contract=settings.contract.contract(),
                ),
                build=build,
            )
            for topic, settings in self.resources.items()
        ]
