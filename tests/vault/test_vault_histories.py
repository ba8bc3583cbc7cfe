"""However deliveries arrive, come again, are late, tie or meet a run that dies: it ends as a clean load."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.vault.adapter import ROOT, Models, ProjectAdapter
from tests.vault.histories import (
    BEFORE_THE_KILL,
    THE_KILLED,
    Delivery,
    clean,
    difference,
    histories,
    restated,
    settled,
    state,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("vault-0"),
    pytest.mark.timeout(1800),  # a run of the models takes 3 s alone, and a minute on a machine that others use too
]


def told_to_die(history: Sequence[Delivery]) -> bool:
    return any(delivery.then == "dies" for delivery in history)


def holds(examples: int, longest: int, models: Models, *, anew: bool) -> None:
    """Play so many histories, the same ones every time, each beside a clean load. Runs must have died in them."""
    deaths = []

    # a history that fails is short enough as it is, and shrinking it takes an hour
    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(history=histories(longest=longest).filter(told_to_die))
    def each(history: Sequence[Delivery]) -> None:
        found, died = settled(models, history)
        deaths.append(died)
        if anew:
            assert difference(found, restated(models)) == {}
        assert difference(found, clean(models, history)) == {}

    each()
    assert sum(deaths) >= max(1, examples // 4)


@pytest.fixture(scope="module")
def models() -> Models:
    return ProjectAdapter()._project


def test_histories_end_as_clean_loads(models: Models) -> None:
    holds(2, 5, models, anew=False)


@pytest.mark.slow
def test_a_restatement_ends_as_a_clean_load(models: Models) -> None:
    holds(1, 7, models, anew=True)


@pytest.mark.chaos
def test_many_long_histories_and_their_restatements_end_as_clean_loads(models: Models) -> None:
    holds(30, 12, models, anew=True)


@pytest.mark.chaos
@pytest.mark.parametrize("kind", ["duckdb", "ducklake"])
@pytest.mark.parametrize("statement", [3, 40, 90, 140])
def test_a_process_killed_at_a_statement_is_healed_by_the_next_run(tmp_path: Path, kind: str, statement: int) -> None:
    folder = tmp_path / "project"
    command = [sys.executable, "-m", "tests.vault.killed_run", str(folder), kind, str(statement)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    models = Models(kind, folder)
    models.run(None)
    found = state(models)
    assert difference(found, clean(models, (*BEFORE_THE_KILL, *THE_KILLED))) == {}
    models.close()
