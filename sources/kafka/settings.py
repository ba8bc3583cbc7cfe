"""The YAML of a `type: kafka` source: brokers, how to reach them, and topics as resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.table import Column, Table
from sources.columns import ColumnSettings, ContractSettings, columns_of
from sources.kafka.mock import MOCK
from sources.protocol import AssetLists, Resource, SourceContext

if TYPE_CHECKING:
    import pyarrow as pa
    from dlt.extract import DltResource

Format = Literal["json", "avro"]
POSITION_COLUMNS: tuple[Column, ...] = (
    Column("_kafka_topic", "text", description="topic of the message; null for rows that came in batch"),
    Column("_kafka_partition", "bigint", description="partition of the message"),
    Column("_kafka_offset", "bigint", description="offset in the partition: with topic and partition it names the row"),
    Column("_kafka_key", "text", description="the message's key as text; bytes that are no UTF-8 in base64"),
    Column("_kafka_headers", "json", description="the message's headers, as [name, value] pairs"),
    Column("_kafka_timestamp", "timestamp", description="when the producer, or the broker, says the message is from"),
)
"""What a table of a topic has beside the payload's columns."""
DELETED = Column("is_deleted", "bool", description="true: a tombstone, of whose key nothing else is known")
"""What a table of a topic with `deletes` has as well."""


class Security(BaseModel):
    """How to prove who asks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(description="transport, and whether one signs in")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="how one signs in"
    )
    username: str | None = Field(default=None, description="name to sign in with, from ${NAME}")
    password: str | None = Field(default=None, description="password to sign in with, from ${NAME}", repr=False)
    ca_file: str | None = Field(default=None, description="certificates to trust; the system's by default")

    @model_validator(mode="after")
    def whole(self) -> Self:
        """SASL needs a mechanism, a name and a password; SSL alone takes none."""
        given = [self.mechanism, self.username, self.password]
        if self.protocol.startswith("SASL") and not all(given):
            raise ValueError(f"{self.protocol} needs mechanism, username and password")
        if self.protocol == "SSL" and any(given):
            raise ValueError("SSL signs nobody in: use SASL_SSL with mechanism, username and password")
        return self


class SchemaRegistry(BaseModel):
    """Where schemas of Avro messages are looked up by their id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="http(s) address of a registry with Confluent's REST paths")
    username: str | None = Field(default=None, description="name to sign in with, from ${NAME}")
    password: str | None = Field(default=None, description="password to sign in with, from ${NAME}", repr=False)


class KafkaTopic(BaseModel):
    """One topic, and the table it fills (the topic's name by default)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str | None = Field(default=None, description="topic to read; the resource's name by default")
    format: Format = Field(default="json", description="of values: json, or avro with the registry's schema ids")
    table: str | None = Field(default=None, description="landed table; the resource's name by default")
    columns: dict[str, ColumnSettings] = Field(default={}, description="declared columns; others are kept beside them")
    primary_key: list[str] = Field(
        default=[], description="columns that name a row; every delivery is kept all the same"
    )
    contract: ContractSettings = Field(default=ContractSettings(), description="what may change in what is delivered")
    deletes: str | None = Field(
        default=None,
        description="the column that a message's key names: one with a null value then becomes a row of that key with "
        "is_deleted true; without it, it is set aside",
    )
    dead_letter: str | None = Field(
        default=None, description="topic for messages that cannot be landed; '<topic>.dead-letter' by default, '' none"
    )
    max_message_kb: int = Field(
        default=4_096, gt=0, description="a longer value is set aside unread, its beginning is kept"
    )

    @field_validator("columns")
    @classmethod
    def only_names_and_types(cls, columns: dict[str, ColumnSettings]) -> dict[str, ColumnSettings]:
        """A message's fields keep their names: refuse the words that only other sources follow."""
        for name, settings in columns.items():
            if settings.source is not None or settings.value is not None or settings.fold is not None:
                raise ValueError(f"column {name}: from, value and fold are not available for topics")
        return columns

    @model_validator(mode="after")
    def deletes_a_row(self) -> Self:
        """A tombstone names a row by one column: by the one that is the key, if there is one."""
        if self.deletes is not None and self.primary_key not in ([], [self.deletes]):
            raise ValueError(f"deletes: {self.deletes} must be the primary_key, and that one column alone")
        if self.deletes is not None and self.columns and self.deletes not in self.columns:
            raise ValueError(f"deletes: {self.deletes} is no declared column")
        mark = self.columns.get(DELETED.name)
        if self.deletes is not None and mark is not None and mark.type != DELETED.data_type:
            raise ValueError(f"deletes needs the column {DELETED.name} for its mark: declare it as bool, or not at all")
        return self

    def every_column(self) -> tuple[Column, ...]:
        """Build the table's columns: the payload's, the mark of deletions, and where the message stood."""
        marked = () if self.deletes is None or DELETED.name in self.columns else (DELETED,)
        return (*columns_of(self.columns), *marked, *POSITION_COLUMNS)


class KafkaSource(BaseModel):
    """A source block of `type: kafka`: brokers, and topics as resources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["kafka"] = Field(description="topics of a Kafka cluster; JSON or Avro messages")
    optional: bool = Field(default=False, description="true: skipped with one line where a ${NAME} of it is not set")
    brokers: str = Field(
        description="host:port of one or more brokers, separated by commas; mock: a broker within the run, for demos"
    )
    group: str = Field(
        default="tickhouse", description="consumer group whose offsets are written after each run, for monitoring only"
    )
    security: Security | None = Field(default=None, description="encryption and sign-in; none by default")
    schema_registry: SchemaRegistry | None = Field(default=None, description="needed by topics of format avro")
    max_messages: int = Field(default=2_000_000, gt=0, description="messages of one topic that one run takes at most")
    max_megabytes: int = Field(default=2_000, gt=0, description="megabytes of one topic that one run takes at most")
    max_seconds: float = Field(default=120.0, gt=0, description="seconds that one run reads one topic at most")
    timeout_seconds: float = Field(default=10.0, gt=0, description="seconds without an answer until brokers are down")
    open_transaction_seconds: float = Field(
        default=600.0, gt=0, description="age from which a transaction that holds messages back is warned of"
    )
    resources: dict[str, KafkaTopic] = Field(description="topics by name")

    @model_validator(mode="after")
    def avro_has_a_registry(self) -> Self:
        """A message of format avro names its schema by an id that only a registry knows."""
        for name, topic in self.resources.items():
            if topic.format == "avro" and self.schema_registry is None:
                raise ValueError(f"topic {name} has format avro: the source needs schema_registry")
        return self

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:  # noqa: ARG002 - topics follow no assets
        """Return one resource a topic; light, connects to nothing."""
        return [self._resource(resource, topic) for resource, topic in self.resources.items()]

    def _resource(self, name: str, settings: KafkaTopic) -> Resource:
        topic = settings.topic or name
        table = Table(
            name=settings.table or name,
            columns=settings.every_column(),
            primary_key=tuple(settings.primary_key),
            contract=settings.contract.contract(),
        )

        def build(ctx: SourceContext) -> DltResource:
            from sources.kafka.resource import messages

            return messages(self, topic, settings, table, ctx)

        undeliverable: set[str] = set()

        def rejected(ctx: SourceContext, rows: pa.Table) -> None:
            from sources.kafka.dead_letters import send

            load_id = rows["_load_id"][0].as_py()
            if load_id not in undeliverable and not send(self, topic, settings, rows, ctx):
                undeliverable.add(load_id)

        def landed(ctx: SourceContext, state: dict[str, Any]) -> None:
            from sources.kafka.group import write_back

            write_back(self, topic, state, ctx)

        def behind(source: str, state: Mapping[str, Any]) -> Mapping[int, tuple[int, int]]:
            from sources.kafka.describe import ends

            return ends(self, source, topic, state)

        mocked = self.brokers == MOCK
        return Resource(
            name=name,
            table=table,
            build=build,
            simulated=mocked,
            one_by_one=True,
            rejected=rejected,
            landed=landed,
            behind=None if mocked else behind,
        )
