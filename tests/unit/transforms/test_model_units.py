"""The models' own unit tests (transforms/tests), run by SQLMesh's test runner."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLMesh's own, while it is imported
PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A context over a copy of transforms/, with DuckDB in memory."""
    from sqlmesh import Context
    from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig
    from sqlmesh.core.console import NoopConsole, set_console

    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(PROJECT / "transforms", folder / "transforms")
    set_console(NoopConsole())
    memory = DuckDBConnectionConfig(connector_config={"TimeZone": "UTC"})
    config = Config(
        gateways={"warehouse": GatewayConfig(connection=memory, test_connection=memory)},
        model_defaults=ModelDefaultsConfig(dialect="duckdb", start="2026-01-01", cron="*/5 * * * *"),
        cache_dir=str(folder / "cache"),
        disable_anonymized_analytics=True,
    )
    return Context(paths=[str(folder / "transforms")], config=config)


def test_the_models_pass_their_tests(context: Any) -> None:
    result = context.test()
    problems = [trace for _, trace in [*result.errors, *result.failures]]
    assert problems == []
    assert result.testsRun >= 6


def test_every_mart_has_tests_and_audits_of_its_keys(context: Any) -> None:
    tested = {test.model_name.replace('"', "").removeprefix("memory.") for test in context._model_test_metadata}
    marts = {model.name: model for model in context.models.values() if model.name.startswith("marts.")}
    assert marts
    assert set(marts) <= tested
    for model in marts.values():
        audited = {name for name, _ in model.audits}
        assert {"not_null", "unique_combination_of_columns"} <= audited
