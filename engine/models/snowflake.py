"""What SQLMesh has to be told about Snowflake: names are in capitals there, and how a session is opened.

The models, and SQLMesh with them, write names in small letters. A name without quotes means capitals on Snowflake, and
so do landing's tables (destinations/snowflake_session.py). So every name that goes there is put into capitals, every
name that comes back into small letters: `SELECT * FROM marts.fct_transactions` works as it stands, and nothing above
the adapter knows of it.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from destinations.snowflake_settings import SnowflakeSettings

DIALECT = "snowflake"
TASKS = 4
"""Models that are built at once: Snowflake runs them side by side."""
OBJECT_NAMES = ("catalog", "schema_name", "name")


def snowflake_gateway(settings: SnowflakeSettings) -> Any:
    """Return SQLMesh's connection to this database."""
    return _gateway_type()(
        account=settings.account,
        user=settings.user,
        password="-",  # noqa: S106 - not used: `open_session` logs in
        database=settings.database.lower(),  # the catalog of every model's name
        concurrent_tasks=TASKS,
        register_comments=False,  # a statement of its own for the columns of each model
        settings=settings,
    )


def open_session(settings: SnowflakeSettings, **_: Any) -> Any:
    """Open a session as the loads have it, but for transactions: these are SQLMesh's to end."""
    from destinations.snowflake_session import connect

    return connect(settings, autocommit=False)


@cache
def _gateway_type() -> Any:
    from sqlmesh.core.config.connection import SnowflakeConnectionConfig

    class Gateway(SnowflakeConnectionConfig):  # type: ignore[misc]
        """SQLMesh's Snowflake connection, opened by destinations/snowflake_session.py."""

        settings: Any
        """SnowflakeSettings, of which pydantic need not know: they are checked already."""

        @property
        def _engine_adapter(self) -> Any:
            return _adapter_type()

        @property
        def _connection_factory(self) -> Any:
            return partial(open_session, self.settings)

        @property
        def _connection_kwargs_keys(self) -> set[str]:
            return set()

    return Gateway


@cache
def _adapter_type() -> Any:
    from sqlmesh.core.dialect import to_schema
    from sqlmesh.core.engine_adapter.snowflake import SnowflakeEngineAdapter

    class Adapter(SnowflakeEngineAdapter):  # type: ignore[misc]
        """Capitals out, small letters in."""

        def get_current_catalog(self) -> str | None:
            found = super().get_current_catalog()
            return str(found).lower() if found else None

        def columns(self, table_name: Any, include_pseudo_columns: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - SQLMesh's signature
            found = super().columns(table_name, include_pseudo_columns)
            return {name.lower(): data_type for name, data_type in found.items()}

        def execute(self, expressions: Any, *args: Any, **kwargs: Any) -> None:
            if isinstance(expressions, str):
                expressions = text_in_capitals(expressions)
            super().execute(expressions, *args, **kwargs)

        def _get_data_objects(self, schema_name: Any, object_names: set[str] | None = None) -> list[Any]:
            schema = to_schema(schema_name).copy()
            schema.set("db", in_capitals(schema.args["db"]))
            names = {name.upper() for name in object_names} if object_names else None
            found = super()._get_data_objects(schema, names)
            return [one.copy(update={key: (getattr(one, key) or "").lower() for key in OBJECT_NAMES}) for one in found]

        def _to_sql(self, expression: Any, *args: Any, **kwargs: Any) -> str:
            text: str = super()._to_sql(in_capitals(expression), *args, **kwargs)
            return text

    return Adapter


def in_capitals(tree: Any) -> Any:
    """Return a copy of a statement with every name in capitals and in quotes."""
    from sqlglot import exp

    def capital(node: Any) -> Any:
        return exp.to_identifier(node.name.upper(), quoted=True) if isinstance(node, exp.Identifier) else node

    return tree.transform(capital)


def text_in_capitals(statement: str) -> str:
    """Return a statement with every name that stands in quotes in capitals; Snowflake does it with the others."""
    from sqlglot import Dialect, TokenType

    parts, end = [], 0
    for token in Dialect.get_or_raise(DIALECT).tokenize(statement):
        if token.token_type is TokenType.IDENTIFIER:
            parts += [statement[end : token.start], statement[token.start : token.end + 1].upper()]
            end = token.end + 1
    return "".join([*parts, statement[end:]])
