"""A run, its metrics, and a real Prometheus that scrapes them."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.metrics.catalogue import METRICS
from sources.kafka.mock import address
from tests.deploy.test_alert_rules import RULES, rules
from tests.deploy.test_dashboards import FILES as DASHBOARDS
from tests.deploy.test_dashboards import read
from tests.e2e.conftest import Demo
from tests.e2e.engine_project import EngineProject
from tests.kafka.processes import Port
from tests.servers.prometheus_server import PrometheusServer, require_program

pytestmark = pytest.mark.xdist_group("e2e-demo")

STREAM = "trino-incremental-dbt-5min"
DEMO = "    data: .data/demo\n"
AWAY = '    timeseries: {type: postgres, dsn: "postgresql://nobody@127.0.0.1:1/none"}\n'
RANGES = {"$__rate_interval": "1m", "$__range": "1h", "$pipeline": ".*", "$destination": ".*", "$source": ".*"}
"""What Grafana puts in place of its variables."""


@pytest.fixture(scope="module")
def watched(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes the demo's `engine run --repeat`, after a run that failed because a server was away.

    Its topics are on librdkafka's mock, in this process: brokers that outlive a run.
    """
    require_program("prometheus")
    folder = tmp_path_factory.mktemp("metrics")
    project: EngineProject = demo.project.copy(folder / "project", KAFKA_BROKERS=address())
    project.replace("    broker: mock ", "    broker: live ")
    project.engine("produce", "--rate", "0", "--messages", "2000")
    port = Port()
    project.replace(DEMO, f"{DEMO}    metrics: {{port: {port.number}}}\n{AWAY}")
    project.engine("run", "historical-backfill", expect=1)
    worker = project.start("run", STREAM, "--repeat")
    try:
        with PrometheusServer({"tickhouse": f"127.0.0.1:{port.number}"}, folder, RULES) as server:
            server.wait_for(f'tickhouse_runs_total{{pipeline="{STREAM}",status="partial"}} >= 1', 90)
            server.wait_for("tickhouse_destination_up")
            yield server
    finally:
        worker.send_signal(signal.SIGTERM)
        assert "Traceback" not in worker.communicate(timeout=60)[1]
        port.close()


def test_prometheus_takes_what_is_served(watched: PrometheusServer) -> None:
    assert watched.value('up{job="tickhouse"}') == 1
    assert watched.value("tickhouse_info") == 1
    runs = 'sum(tickhouse_runs_total{pipeline=~"batch-data-pipeline|prices-.*",status="ok"})'
    assert watched.value(runs) == 3
    assert watched.value('tickhouse_failed_runs_in_a_row{pipeline="historical-backfill"}') == 1
    assert watched.value('tickhouse_destination_up{destination="timeseries"}') == 0
    assert watched.value('tickhouse_destination_up{destination="warehouse"}') == 1
    assert (
        watched.value(f'tickhouse_landed_rows_total{{pipeline="{STREAM}",resource="raw_transaction_personal"}}') > 1000
    )
    assert watched.value('tickhouse_source_requests_total{source="binance"}') > 50
    assert watched.value("count(tickhouse_check_failed_rows)") > 20
    assert watched.value('scrape_duration_seconds{job="tickhouse"}') < 0.5


def test_every_metric_of_the_page_is_exposed(watched: PrometheusServer) -> None:
    exposed = {row["metric"]["__name__"] for row in watched.query('count by (__name__) ({job="tickhouse"})')}
    exposed = {re.sub(r"_(count|sum)$", "", name) for name in exposed if name.startswith("tickhouse_")}
    assert exposed == {metric.name for metric in METRICS}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_gives_data(watched: PrometheusServer, path: Path) -> None:
    empty = []
    for panel in read(path)["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for variable, value in RANGES.items():
                query = query.replace(variable, value)
            if not watched.query(query):
                empty.append(f"{panel['title']}: {query}")
    assert empty == []


def test_alerts_that_should_do_and_no_others(watched: PrometheusServer) -> None:
    watched.wait_for('ALERTS{alertname="TickhouseDestinationDown"}')
    # until the brokers are asked again, a lag is that from before the run
    watched.wait_for('absent(ALERTS{alertname="TickhouseTopicLagGrowing"})', 90)
    alerts = watched.alerts()
    assert set(alerts) <= {
        "TickhousePipelineFailing",
        "TickhouseDestinationDown",
        "TickhouseDestinationBehind",
        "TickhouseCheckWarning",
        # the brokers are not those that the demo read: what it knows of some topics is not there any more, and told
        "TickhouseDeadLetters",
        "TickhouseRowsSetAside",
    }
    assert alerts["TickhousePipelineFailing"]["state"] == "firing"
    assert alerts["TickhouseDestinationDown"]["labels"]["destination"] == "timeseries"
    told = "".join(text for alert in alerts.values() for text in alert["annotations"].values())
    assert "error" not in told
    assert "{{" not in told


def test_statements_that_alerts_name_can_be_run(demo: Demo) -> None:
    statements = [
        s for rule in rules() for s in re.findall(r"`(engine query .*?)`", rule["annotations"]["description"])
    ]
    assert len(statements) >= 2
    for statement in statements:
        demo.project.engine(*shlex.split(statement.replace("{{ $labels.source }}", "stream"))[1:])


def test_promtool_finds_nothing_to_mend(demo: Demo, tmp_path: Path) -> None:
    promtool = require_program("promtool")
    done = demo.project.engine("metrics")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=done.out, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
