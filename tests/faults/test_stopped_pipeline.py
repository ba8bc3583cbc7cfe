"""O04: a pipeline has stood still for two hours. Everything that shows how old its data are is right to the minute."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.config.load import load_project
from engine.metrics import serve
from engine.notify import Lookout
from engine.words import length
from tests.deploy.test_alert_rules import RULES
from tests.deploy.test_dashboards import GRAFANA, read
from tests.faults.fake_clock import clock_env
from tests.faults.small_project import SMALL, SmallProject
from tests.servers.prometheus_server import PrometheusServer
from tests.servers.webhook import webhook_server

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]
MINUTE = 60
TIMELY = 'transform: false, schedule: "*/5 * * * *"}\nnotify: {webhook: "${SLACK_WEBHOOK}"}\n'


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> SmallProject:
    """The last run was two hours ago; it runs every five minutes."""
    shop = SmallProject(tmp_path_factory.mktemp("stopped"))
    before, _, after = SMALL.rpartition("transform: false}\n")
    shop.write(before + TIMELY + after)
    shop.orders(1)
    done = shop.engine("run", "daily", env=clock_env(hours=-2))
    assert done.returncode == 0, done.stderr
    return shop


def ages(moment: datetime) -> set[str]:
    """How people say the time since then, now and a minute ago: a test may be slow."""
    age = datetime.now(UTC) - moment
    return {length(age), length(age - timedelta(seconds=MINUTE))}


def panel(dashboard: str, title: str, target: int = 0) -> str:
    """The query of a panel, as Grafana sends it."""
    panels = read(GRAFANA / "dashboards" / f"{dashboard}.json")["panels"]
    query: str = next(p["targets"][target]["expr"] for p in panels if p["title"] == title)
    return query.replace("$destination", ".*").replace("$pipeline", ".*")


def test_status_says_how_old_the_data_are_and_that_a_run_is_late(stopped: SmallProject) -> None:
    found = json.loads(stopped.engine("status", "--json").stdout)
    (table,) = [t for t in found["tables"] if t["table"] == "raw_orders"]
    (daily,) = [p for p in found["pipelines"] if p["pipeline"] == "daily"]
    arrived, due = datetime.fromisoformat(table["arrived_at"]), datetime.fromisoformat(daily["due_at"])
    now = datetime.now(UTC)
    assert timedelta(hours=1, minutes=59) < now - arrived < timedelta(hours=2, minutes=1)
    assert timedelta() <= due - arrived <= timedelta(minutes=5)
    assert abs((now - arrived).total_seconds() - table["age_seconds"]) < MINUTE
    assert abs((now - due).total_seconds() - daily["late_seconds"]) < MINUTE
    text = stopped.engine("status").stdout
    (row,) = [line for line in text.splitlines() if "raw_orders" in line]
    assert any(f" {age} " in row for age in ages(arrived)), row
    (late,) = [line for line in text.splitlines() if "late" in line]
    assert late in {f"  daily: late: a run was due at {due:%Y-%m-%d %H:%M} UTC, {age} ago" for age in ages(due)}


def test_dashboard_alert_and_message_say_so_too(stopped: SmallProject, tmp_path: Path) -> None:
    arrived, due = told(stopped)
    with webhook_server("secret") as webhook:
        project = load_project(stopped.folder / "pipelines.yaml", env={"SLACK_WEBHOOK": webhook.url})
        assert Lookout(lambda: project).look() == []
        (text,) = webhook.texts
        assert any(
            f"a run was due at {due:%Y-%m-%d %H:%M} UTC, {age} ago, and none has begun" in text for age in ages(due)
        )
    (tmp_path / "rules.yml").write_text(re.sub("for: .*", "for: 0s", RULES.read_text()))
    served = serve(lambda: project, port=0)
    with PrometheusServer({"tickhouse": f"127.0.0.1:{served.port}"}, tmp_path, tmp_path / "rules.yml") as server:
        server.wait_for('ALERTS{alertname="TickhousePipelineLate",alertstate="firing"}')
        alert = server.alerts()["TickhousePipelineLate"]
        said = re.search(r"late by (\d+)h (\d+)m (\d+)s", alert["annotations"]["summary"])
        assert said, alert["annotations"]["summary"]
        hours, minutes, seconds = map(int, said.groups())
        assert abs(time.time() - due.timestamp() - (hours * 3600 + minutes * 60 + seconds)) < MINUTE
        [age] = server.wait_for('tickhouse_table_age_seconds{table="raw_orders"}')
        assert abs(time.time() - arrived.timestamp() - float(age["value"][1])) < MINUTE
        assert panels(server, arrived) == []
        served.close()  # the worker is gone as well: the age goes on
        server.wait_for("up == 0")
        assert server.query("tickhouse_table_age_seconds") == []
        assert panels(server, arrived) == []


def told(stopped: SmallProject) -> tuple[datetime, datetime]:
    """When the table's newest package arrived, and when the run after it was due."""
    found: dict[str, Any] = json.loads(stopped.engine("status", "--json").stdout)
    (arrived,) = [t["arrived_at"] for t in found["tables"] if t["table"] == "raw_orders"]
    (due,) = [p["due_at"] for p in found["pipelines"] if p["pipeline"] == "daily"]
    return datetime.fromisoformat(arrived), datetime.fromisoformat(due)


def panels(server: PrometheusServer, arrived: datetime) -> list[str]:
    """Panels of the dashboards that do not show the age of the data, or not that one pipeline is late."""
    shown = {
        "Newest load": panel("data", "Newest load"),
        "Age of each table": panel("data", "Age of each table"),
        "Tables": panel("data", "Tables", 1),
        "Age of the newest load": panel("data", "Age of the newest load"),
        "Time since a table was landed": panel("data", "Time since a table was landed"),
        "Pipelines, last run": panel("pipelines", "Pipelines"),
        "Pipelines, last success": panel("pipelines", "Pipelines", 1),
    }
    age = time.time() - arrived.timestamp()
    found = {title: [float(row["value"][1]) for row in server.query(query)] for title, query in shown.items()}
    wrong = [f"{title}: {values} s" for title, values in found.items() if not values or abs(values[0] - age) > MINUTE]
    late = server.value(panel("pipelines", "Late"))
    return wrong if late == 1 else [*wrong, f"Late: {late:.0f}"]
