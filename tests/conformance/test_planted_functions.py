"""Somebody who may create functions in a database does not have them run with the rights of the destination's user."""

from __future__ import annotations

import psycopg
import pytest

from tests.conformance.landed_packages import FolderLake
from tests.conformance.targets import Target

FUNCTIONS = {
    "mod(bigint, integer)": "bigint",
    "mod(bigint, bigint)": "bigint",
    "per(bigint, integer)": "bigint",
    "times(bigint, interval)": "interval",
    "times(numeric, integer)": "numeric",
    "lower(name)": "text",
}
OPERATORS = {
    "* (bigint, interval)": "times",
    "* (numeric, integer)": "times",
}
"""What PostgreSQL itself has for other types only: it would turn these into those."""


@pytest.mark.faults
@pytest.mark.parametrize("target", ["postgres", "timescaledb"], indirect=True)
def test_functions_that_fit_better_than_the_server_s_own_are_not_called(
    target: Target, six_packages: FolderLake
) -> None:
    with psycopg.connect(target.extra["dsn"], autocommit=True, prepare_threshold=None) as connection:
        connection.execute("SET search_path = public")
        for name, result in FUNCTIONS.items():
            body = "$$BEGIN RAISE 'planted'; END$$"
            connection.execute(f"CREATE FUNCTION public.{name} RETURNS {result} LANGUAGE plpgsql AS {body}".encode())
        for name, function in OPERATORS.items():
            left, right = name.removeprefix("* (").removesuffix(")").split(", ")
            how = f"FUNCTION = public.{function}, LEFTARG = {left}, RIGHTARG = {right}"
            connection.execute(f"CREATE OPERATOR public.* ({how})".encode())
        try:
            for planted in ("mod(5::bigint, 3)", "5::bigint * interval '1 second'"):
                with pytest.raises(psycopg.Error, match="planted"):  # whoever connects as is usual calls them
                    connection.execute(f"SELECT {planted}".encode())
            assert target.run(six_packages).errors == []
            assert target.findings(six_packages) == []
        finally:
            for name in FUNCTIONS:
                connection.execute(f"DROP FUNCTION public.{name} CASCADE".encode())
