"""Every case of the contract, played on the real models; a handful on the default warehouse too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.vault.adapter import ProjectAdapter
from tests.vault.suite import SHUFFLES, Document, play, read

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLMesh's own, while it is imported
HERE = Path(__file__).parent
CASES = read(HERE / "cases.yaml")
MORE = read(HERE / "more_cases.yaml", CASES)
WORKERS = 2
ON_DUCKLAKE = ("NUL-01", "SAT-05", "LOD-08", "MRT-03")
"""Cases with missing keys, ties, late rows and marts: what the warehouse's own transactions could get wrong."""


class OnDuckLake(ProjectAdapter):
    """The same models on the warehouse that a new project has."""

    kind = "ducklake"
    _models = None


def runs(case: Mapping[str, Any]) -> int:
    """Return about how many model runs a case takes."""
    once = sum("run" in step for step in case["steps"])
    return once * (1 + SHUFFLES if case.get("permute") else 1) + bool(case.get("compare_runs"))


def spread(doc: Document) -> list[Any]:
    """Return the cases in groups of about the same length: each worker builds one project."""
    loads = [0] * WORKERS
    spread_cases = []
    for case in sorted(doc.cases, key=runs, reverse=True):
        group = loads.index(min(loads))
        loads[group] += runs(case)
        spread_cases.append(pytest.param(case, id=case["id"], marks=pytest.mark.xdist_group(f"vault-{group}")))
    return spread_cases


def test_no_case_is_there_twice() -> None:
    ids = [case["id"] for case in (*CASES.cases, *MORE.cases)]
    assert sorted(set(ids)) == sorted(ids)
    assert len(CASES.cases) == 45


@pytest.mark.parametrize("case", spread(CASES))
def test_a_case_of_the_contract(case: Mapping[str, Any]) -> None:
    assert play(CASES, case, ProjectAdapter()) == []


@pytest.mark.parametrize("case", spread(MORE))
def test_a_case_of_our_own(case: Mapping[str, Any]) -> None:
    assert play(MORE, case, ProjectAdapter()) == []


@pytest.mark.slow
@pytest.mark.xdist_group("vault-ducklake")
@pytest.mark.parametrize("case_id", ON_DUCKLAKE)
def test_a_case_on_ducklake(case_id: str) -> None:
    assert play(CASES, {**CASES.case(case_id), "permute": False}, OnDuckLake()) == []
