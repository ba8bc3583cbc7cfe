"""docs/conformance.md fits the tests that there are: none is run again here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conformance.matrix import PAGE, ROOT, render, shown_by, wanted
from tests.conformance.matrix_cases import GROUPS, KINDS

CASES = [case for group in GROUPS.values() for case in group]


@pytest.fixture(scope="module")
def known() -> list[str]:
    """Every test of the cases that pytest finds."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--collect-only"]
    done = subprocess.run([*command, *wanted(CASES)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return [line.partition("@")[0] for line in done.stdout.splitlines() if "::" in line]


def test_each_cell_has_a_test_or_a_reason(known: list[str]) -> None:
    wrong = [
        (case.title, kind)
        for case in CASES
        for kind in KINDS
        if bool(shown_by(case, kind, known)) == bool(case.reason(kind))
    ]
    assert wrong == []


def test_the_page_is_what_these_tests_give_where_all_hold(known: list[str]) -> None:
    assert render(dict.fromkeys(known, "holds")) == PAGE.read_text(encoding="utf-8"), "run `make conformance`"


def test_a_failure_would_be_seen(known: list[str]) -> None:
    outcomes = dict.fromkeys(known, "holds")
    hit = next(test for test in known if "test_a_gap_is_refused" in test and "trino" in test)
    [row] = [line for line in render({**outcomes, hit: "fails"}).splitlines() if line.startswith("| a gap |")]
    assert row.count("fails") == 1
    assert row.count("holds") == len(KINDS) - 1
