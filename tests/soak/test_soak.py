"""Three minutes of `make soak`, and its own parts."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import yaml

from tests.faults import oracle
from tests.servers.postgres_server import require_postgres
from tests.servers.prometheus_server import require_program
from tests.soak.alerts import RULES, for_seconds, rules
from tests.soak.messages import Webhook
from tests.soak.plan import plan
from tests.soak.soak import Soaked, soak
from tests.soak.verdict import figures, findings

# all of them: pytest-xdist starts groups of several tests before single ones, so that nobody waits for this in the end
pytestmark = pytest.mark.xdist_group("soak")
MINUTES = 3


@pytest.mark.timeout(1200)
@pytest.mark.faults
def test_three_minutes_of_schedules_with_kills_and_outages(tmp_path: Path) -> None:
    require_program("prometheus")
    require_postgres()
    found: list[str] = []

    def check(soaked: Soaked) -> None:
        found.extend(findings(soaked))
        lose_a_row(soaked)
        for line in figures(soaked):
            print(line)  # noqa: T201 - pytest shows it when the test fails

    soak(tmp_path / "soak", MINUTES, 7, print, check)
    assert found == []


def lose_a_row(soaked: Soaked) -> None:
    """The checks see a row that PostgreSQL lacks."""
    with psycopg.connect(soaked.trial.dsn) as connection:
        lost = connection.execute("DELETE FROM landing.raw_history_ohlcv WHERE volume = 1000000")
        assert lost.rowcount == 1
    assert len(oracle.files_once(soaked.trial.mirror)) == 1
    assert len(oracle.landing_is_the_lake(soaked.trial.mirror, soaked.trial.packages())) == 2


def test_an_hour_has_twelve_kills_of_three_kinds_and_two_outages() -> None:
    for seed in range(50):
        kinds = [step.kind for step in plan(60, seed)]
        assert len(kinds) == 14
        assert {kinds.count(kind) for kind in ("kill run", "kill worker", "kill server")} == {4}
        assert {kinds.count(kind) for kind in ("destination away", "worker away")} == {1}
        assert len({step.kind for step in plan(MINUTES, seed)}) == 5
        assert all(0 < step.at < 3600 for step in plan(60, seed))


def test_the_rules_of_an_hour_are_those_of_the_repository() -> None:
    written = [rule["for"] for rule in rules(yaml.safe_load(RULES.read_text())) if "for" in rule]
    assert {for_seconds(each, 60) for each in written} == {60, 300, 600, 1800}
    assert [for_seconds("5m", minutes) for minutes in (3, 6, 60, 600)] == [15, 30, 300, 300]


def test_a_message_is_read_as_what_broke_and_what_works() -> None:
    webhook = Webhook()
    webhook.take(
        "FAILED: files\n• destination postgres: away — Start it.\n• run: died\nWORKS AGAIN: files\n"
        "• source history, after 2 min: this run has caught up\n(Tickhouse)"
    )
    assert [(each.broke, each.thing) for each in webhook.told] == [
        (True, "destination postgres"),
        (True, "run of files"),
        (False, "source history of files"),
    ]
