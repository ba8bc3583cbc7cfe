"""Grafana's dashboards: what Grafana's own models of a dashboard understand, on the data source that is provisioned.

That every query gives data is shown on a real Prometheus by tests/e2e/test_e2e_metrics.py. No Grafana was started:
there is none in a package registry.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from engine.metrics.catalogue import METRICS
from tests.deploy.compose_file import ROOT
from tests.deploy.test_alert_rules import promtool

GRAFANA = ROOT / "deploy" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
COLUMNS = 24
dashboards = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def differences(written: Any, understood: Any, where: str = "") -> list[str]:
    """What of a document is not in what Grafana's models made of it."""
    if isinstance(written, dict) and isinstance(understood, dict):
        found = [f"{where}.{key} is unknown" for key in written if key not in understood]
        both = [key for key in written if key in understood]
        return found + [line for key in both for line in differences(written[key], understood[key], f"{where}.{key}")]
    if isinstance(written, list) and isinstance(understood, list) and len(written) == len(understood):
        pairs = enumerate(zip(written, understood, strict=True))
        return [line for at, (one, other) in pairs for line in differences(one, other, f"{where}[{at}]")]
    return [] if written == understood else [f"{where}: {written!r} became {understood!r}"]


def by_grafana(document: dict[str, Any]) -> Any:
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(document)))


@dashboards
def test_grafana_s_models_understand_every_word(path: Path) -> None:
    document = read(path)
    assert differences(document, by_grafana(document)) == []


def test_a_word_that_grafana_does_not_know_is_noticed() -> None:
    document = read(FILES[0])
    document["panels"][0]["fieldConfig"]["defaults"]["unitt"] = "s"
    document["panels"][0]["targets"][0]["legendformat"] = "x"
    assert [line.rsplit(".", 1)[-1] for line in differences(document, by_grafana(document))] == [
        "legendformat is unknown",
        "unitt is unknown",
    ]


def test_there_are_three_and_each_has_its_name() -> None:
    documents = [read(path) for path in FILES]
    assert [path.stem for path in FILES] == ["data", "pipelines", "streaming"]
    assert len({document["uid"] for document in documents}) == len({document["title"] for document in documents}) == 3


@dashboards
def test_panels_have_a_title_a_place_and_the_provisioned_source(path: Path) -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    uids = {source["uid"] for source in provisioned["datasources"]}
    document = read(path)
    panels = document["panels"]
    assert len(panels) >= 10
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken = set()
    for panel in panels:
        assert panel["title"]
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= COLUMNS
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, f"{panel['title']} lies on another panel"
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert set(re.findall(r'"uid": "(\w+)"', json.dumps(document["panels"]))) <= uids


@dashboards
def test_queries_ask_for_metrics_and_labels_that_there_are(path: Path) -> None:
    known = {metric.name: metric for metric in METRICS}
    variables = {variable["name"] for variable in read(path)["templating"]["list"]}
    named = set()
    for panel in read(path)["panels"]:
        for target in panel["targets"]:
            names = {re.sub(r"_(sum|count)$", "", n) for n in re.findall(r"tickhouse_\w+", target["expr"])}
            assert names <= set(known), (panel["title"], names - set(known))
            named |= names
            assert set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval", "__range", "1"} <= variables
    assert len(named) >= 7


LANDED = "tickhouse_topic_last_landed_timestamp_seconds"
SERIES = {
    'up{job="tickhouse",instance="worker"}': "1+0x10 0+0x10",
    LANDED + '{job="tickhouse",instance="worker",source="stream",resource="orders"}': "120+0x10 stale",
    LANDED + '{job="tickhouse",instance="worker",source="other",resource="raw_orders"}': "540+0x10 stale",
    'tickhouse_table_last_landed_timestamp_seconds{job="tickhouse",instance="worker",table="raw_orders"}': "599+0x20",
    'tickhouse_table_last_landed_timestamp_seconds{job="tickhouse",instance="worker",table="raw_sales"}': "120+0x20",
    'tickhouse_topic_lag_messages{job="tickhouse",instance="worker",source="stream",resource="orders",partition="0"}': (
        "7+0x20"
    ),
}
"""Of a topic `orders` that lands in raw_sales, and for the last ten minutes of nobody: the worker is away."""


@pytest.mark.parametrize(("source", "at", "age"), [("stream", 10, 480), ("stream", 20, 1080), (".*", 20, 660)])
def test_the_age_of_a_topic_is_its_own_and_no_table_s(source: str, at: int, age: int, tmp_path: Path) -> None:
    panels = read(GRAFANA / "dashboards" / "streaming.json")["panels"]
    (target,) = next(panel["targets"] for panel in panels if panel["title"] == "Newest message landed")
    case = {"expr": target["expr"].replace("$source", source), "eval_time": f"{at}m"}
    case["exp_samples"] = [{"labels": "{}", "value": age}]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [case]}
    (tmp_path / "panel.yml").write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", str(tmp_path / "panel.yml"))
