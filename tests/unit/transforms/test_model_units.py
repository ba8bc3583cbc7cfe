"""The models' own unit tests (transforms/tests), run by SQLMesh's test runner."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLMesh's own, while it is imported
PROJECT = Path(__file__).parents[3]
AUDITED = ("vault.hub_", "vault.link_", "vault.sat_", "marts.dim_", "marts.fct_", "business.")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A context over a copy of transforms/, with DuckDB in memory."""
    from sqlmesh import Context
    from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig
    from sqlmesh.core.console import NoopConsole, set_console

    folder = tmp_path_factory.mktemp("models")
    for part in ("audits", "macros", "materializations", "models", "tests"):
        shutil.copytree(PROJECT / "transforms" / part, folder / "transforms" / part)
    set_console(NoopConsole())
    memory = DuckDBConnectionConfig(connector_config={"TimeZone": "UTC"})
    config = Config(
        gateways={"warehouse": GatewayConfig(connection=memory, test_connection=memory)},
        model_defaults=ModelDefaultsConfig(
            dialect="duckdb", start="2026-01-01", cron="*/5 * * * *", optimize_query=False
        ),
        cache_dir=str(folder / "cache"),
        infer_python_dependencies=False,
        disable_anonymized_analytics=True,
    )
    return Context(paths=[str(folder / "transforms")], config=config)


def test_the_models_pass_their_tests(context: Any) -> None:
    result = context.test()
    problems = [trace for _, trace in [*result.errors, *result.failures]]
    assert "\n".join(problems) == ""
    assert result.testsRun >= 20


def test_every_mart_and_every_business_rule_has_a_test(context: Any) -> None:
    tested = {test.model_name.replace('"', "").removeprefix("memory.") for test in context._model_test_metadata}
    named = {model.name for model in context.models.values()}
    wanted = {name for name in named if name.startswith(("marts.", "business.", "semantic."))}
    assert len(wanted) >= 18
    assert wanted - tested == set()


def test_every_kept_table_has_audits_of_its_keys(context: Any) -> None:
    """A view keeps nothing: what it reads is audited."""
    tables = {m.name: m for m in context.models.values() if m.kind.is_custom and m.name.startswith(AUDITED)}
    assert len(tables) >= 24
    for name, model in tables.items():
        audits = {audit.name: audit for audit, _ in model.audits_with_args}
        assert "key_sound" in audits, name
        assert audits["key_sound"].blocking


def test_every_audit_is_used_and_says_whether_it_blocks(context: Any) -> None:
    used = {audit.name: audit.blocking for m in context.models.values() for audit, _ in m.audits_with_args}
    assert used == {
        "candle_grid": False,
        "history_sound": True,
        "key_sound": True,
        "ohlc_sane": False,
        "priced_assets_known": True,
        "prices_fresh": False,
        "sources_agree": False,
        "transactions_complete": True,
    }
    for path in (PROJECT / "transforms" / "audits").glob("*.sql"):
        assert path.stem in used
        assert "blocking" in path.read_text()
