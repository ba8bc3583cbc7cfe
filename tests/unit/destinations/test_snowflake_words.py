"""What is said to Snowflake, and what of its errors is said to the user: no server is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlglot
from pydantic import ValidationError
from snowflake.connector import errors

from destinations.landing_rules import bookkeeping, creation, evolution, landed_files
from destinations.package_rows import LandedFile
from destinations.snowflake import SnowflakeWarehouse
from destinations.snowflake_failures import KNOWN, UncertainError, clear_errors, explain
from destinations.snowflake_session import SNOWFLAKE
from destinations.snowflake_settings import ExternalStage, SnowflakeSettings
from destinations.snowflake_stage import copy_into, make_external, put, staged_name
from engine.errors import DestinationError, GoneError, NotPublishedError
from engine.table import LINEAGE_COLUMNS, Column
from tests.conformance.landed_packages import FolderLake, price_rows

LINEAGE = [column.name for column in LINEAGE_COLUMNS]
GIVEN = {"type": "snowflake", "account": "ORG-ACC", "user": "U"}
WHERE = "Snowflake account ORG-ACC, database D"


def test_a_copy_names_its_files_and_forgets_no_option() -> None:
    assert copy_into("raw_prices", ["a.parquet", "b.parquet"]) == (
        "COPY INTO landing.\"RAW_PRICES\" FROM @landing.tickhouse_stage FILES = ('a.parquet', 'b.parquet')"
        " FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)"
        " MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT FORCE = TRUE"
    )


STAGE = ExternalStage(url="s3://raw-data/lake", storage_integration="tickhouse_lake")


def test_an_external_stage_reads_the_lakes_own_files() -> None:
    made = make_external(STAGE)
    assert made == (
        "CREATE OR REPLACE STAGE landing.tickhouse_lake URL = 's3://raw-data/lake/'"
        ' STORAGE_INTEGRATION = "TICKHOUSE_LAKE"'
    )
    sqlglot.parse_one(made, dialect="snowflake")
    with pytest.raises(ValidationError):
        ExternalStage(url="s3://it's/lake", storage_integration="x")


def test_with_an_external_stage_only_csv_is_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statements of a load, told to nobody: each COPY loads what its files' manifests say."""
    lake, told = FolderLake(tmp_path), []
    parquet, csv = lake.land(price_rows(0, 3)), lake.land(price_rows(3, 2), file_format="csv")
    files = list(landed_files("raw_prices", [parquet, csv]))
    assert [file.lake_path for file in files] == [f"{p.entry.path}/{p.manifest.files[0].name}" for p in (parquet, csv)]

    class Told:
        def execute(self, statement: str) -> list[tuple[object, ...]]:
            told.append(statement)
            rows = 3 if "tickhouse_lake" in statement else 2
            return [("f", "LOADED", rows, rows, 0, 0, "UPLOADED")]

    settings = SnowflakeSettings.model_validate(GIVEN | {"password": "p", "stage": STAGE.model_dump()})
    warehouse = SnowflakeWarehouse("snow", settings, tmp_path / "lock")
    monkeypatch.setattr(warehouse, "_session", Told())
    types = {"symbol": "VARCHAR", "price": "DECIMAL(38,18)", "trades": "BIGINT"}
    types |= {"observed_at": "TIMESTAMP WITH TIME ZONE"} | dict.fromkeys(LINEAGE, "VARCHAR")
    types |= {"load_timestamp": "TIMESTAMP WITH TIME ZONE"}
    warehouse._put("raw_prices", files, types)
    warehouse._copy("raw_prices", files, types)
    put_statement, external, of_lake, of_stage = told
    assert external == make_external(STAGE)
    assert put_statement.startswith("PUT 'file://")
    assert staged_name(files[1]) in put_statement
    assert of_lake == copy_into("raw_prices", [files[0].lake_path], "@landing.tickhouse_lake")
    assert of_stage == copy_into("raw_prices", [staged_name(files[1])])


def test_a_staged_name_is_flat_and_a_put_quotes_its_path() -> None:
    file = LandedFile(Path("x"), "t", "load/1 é", "part-00000.csv", 1, ())
    assert staged_name(file) == "load_1__--part-00000.parquet"
    assert put(Path("/a'b/c.parquet")).startswith("PUT 'file:///a''b/c.parquet' @landing.tickhouse_stage ")


def test_ddl_is_snowflakes() -> None:
    whole, broken = Column("n", "bigint"), Column("n", "double")
    for statement in (*bookkeeping(SNOWFLAKE), creation(SNOWFLAKE, "t", [whole])):
        sqlglot.parse_one(statement, dialect="snowflake")
    made_anew = """CREATE OR REPLACE TABLE landing."T" COPY GRANTS AS
        SELECT * REPLACE (CAST("N" AS DOUBLE) AS "N") FROM landing."T"
    """
    assert evolution("d", SNOWFLAKE, "t", {"n": "BIGINT"}, [broken]) == [" ".join(made_anew.split())]


@pytest.mark.parametrize("number", sorted(KNOWN))
def test_a_known_error_has_a_remedy(number: int) -> None:
    told = explain("snow", WHERE, errors.DatabaseError("SQL access control error:\nwhy it was", errno=number))
    assert told.remedy
    assert "access control error" not in told.reason


def test_nothing_landed_nobody_there_and_no_answer_are_told_apart() -> None:
    missing = errors.ProgrammingError("Object 'X.LANDING._CURSOR' does not exist", errno=2003)
    assert isinstance(explain("snow", WHERE, missing), NotPublishedError)
    assert isinstance(explain("snow", WHERE, errors.OperationalError("refused", errno=250001 + 2)), GoneError)
    with pytest.raises(GoneError, match="while a load was being committed"), clear_errors("snow", WHERE):
        raise UncertainError("reset by peer")
    with pytest.raises(DestinationError, match="odd"), clear_errors("snow", WHERE):
        raise errors.ProgrammingError("odd", errno=1)


@pytest.mark.parametrize(
    "more", [{}, {"password": "p", "private_key_file": "k"}, {"password": "p", "protocol": "http", "host": "far"}]
)
def test_a_login_has_one_secret_and_shows_it_to_nobody(more: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SnowflakeSettings.model_validate(GIVEN | more)
    settings = SnowflakeSettings.model_validate(GIVEN | {"password": "very-secret"})
    assert "very-secret" not in repr(settings)


def test_a_key_is_taken_with_its_passphrase() -> None:
    settings = SnowflakeSettings.model_validate(GIVEN | {"private_key_file": "/k.p8", "private_key_passphrase": "pp"})
    given = settings.connection()
    assert (given["authenticator"], given["private_key_file"]) == ("SNOWFLAKE_JWT", "/k.p8")
    assert given["private_key_file_pwd"] == "pp"  # noqa: S105 - of no key
