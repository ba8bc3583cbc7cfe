"""While runs go on and die, a reader asks in a loop: no error, no half package, no mart that goes back."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.faults.kills import kill_after, rounds
from tests.faults.oracle import healed
from tests.faults.trial import ROOT, Trial, warehouse

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("kills"), pytest.mark.timeout(600)]


@contextmanager
def a_reader(trial: Trial) -> Iterator[Callable[[], dict[str, Any]]]:
    """A reader in a process of its own; call what it gives to end it and hear what it saw."""
    command = [sys.executable, "-m", "tests.faults.reading", str(trial.folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"

        def end() -> dict[str, Any]:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            seen: dict[str, Any] = json.loads(out)
            return seen

        yield end
        process.kill()


def check(seen: dict[str, Any], samples: int, states: int) -> None:
    assert seen["errors"] == []
    assert seen["holes"] == []
    assert seen["backwards"] == []
    assert seen["samples"] >= samples, seen
    assert seen["states"] >= states, seen
    assert seen["heads"] > states, "the reader never saw a package arrive"


def test_a_reader_beside_runs_and_kills(project: Trial, seeded: random.Random) -> None:
    """X05: two runs and a killed one between them."""
    with a_reader(project) as end:
        length = project.run().seconds
        project.add_file("between")
        kill_after(project, seeded.uniform(0.3, 0.9) * length)
        assert healed(project) == []
        check(end(), samples=10, states=3)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_a_reader_beside_thirty_kills(project: Trial, seeded: random.Random) -> None:
    """X05: thousands of samples."""
    with a_reader(project) as end:
        length = project.run().seconds
        for number in range(rounds(30)):
            project.add_file(f"kill-{number}")
            kill_after(project, seeded.uniform(0.0, 1.0) * length)
            assert healed(project) == []
        check(end(), samples=20 * rounds(30), states=rounds(30))


def test_the_reader_would_see_a_half_package(project: Trial) -> None:
    """X05: the check itself: rows that go or come outside a package's transaction, and a mart that shrinks."""
    with a_reader(project) as end:
        with warehouse(project.folder) as opened:
            opened._writer.execute("DELETE FROM landing.raw_transaction_personal WHERE transaction_id LIKE '%7'")
            opened._writer.execute("INSERT INTO landing.raw_assets SELECT * FROM landing.raw_assets LIMIT 1")
            opened.publish()
        time.sleep(2)
        seen = end()
    assert {hole[0] for hole in seen["holes"]} == {"raw_transaction_personal", "raw_assets"}
