"""Alert rules: each fires when it should and not when it should not, and says what a person can do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.cli import cli
from engine.lateness import GRACE
from engine.metrics.catalogue import METRICS
from tests.deploy.compose_file import ROOT, services
from tests.servers.prometheus_server import require_program

RULES = ROOT / "deploy" / "prometheus" / "rules" / "tickhouse.yml"
CASES = Path(__file__).with_name("alerts.yml")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*words: str) -> None:
    done = subprocess.run([require_program("promtool"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    document = yaml.safe_load(RULES.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(document))
    (tmp_path / "alerts.yml").write_text(CASES.read_text())
    promtool("test", "rules", str(tmp_path / "alerts.yml"))


def test_a_rule_that_never_fires_is_noticed(tmp_path: Path) -> None:
    text = re.sub(r"\n +annotations:(\n {10,}.*)+", "", RULES.read_text())
    (tmp_path / "rules.yml").write_text(text.replace("tickhouse_destination_up == 0", "tickhouse_destination_up == 7"))
    (tmp_path / "alerts.yml").write_text(CASES.read_text())
    with pytest.raises(AssertionError, match="alertname: TickhouseDestinationDown"):
        promtool("test", "rules", str(tmp_path / "alerts.yml"))


def test_every_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert len(names) >= 12
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


def test_rules_ask_for_metrics_that_there_are() -> None:
    known = {metric.name for metric in METRICS}
    for rule in rules():
        named = set(re.findall(r"tickhouse_\w+", rule["expr"]))
        assert named <= known, rule["alert"]
        assert named or "up{" in rule["expr"]


def test_late_means_the_same_in_rules_and_in_messages() -> None:
    (late,) = [rule for rule in rules() if rule["alert"] == "TickhousePipelineLate"]
    assert f"{GRACE.total_seconds():.0f}" in late["expr"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    text = rule["annotations"]["description"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert len(rule["annotations"]["summary"]) < 120
    assert re.search(r"`(engine|docker compose) |docs/", text), text
    for command in re.findall(r"`engine (\w+)", text):
        assert command in cli.commands
    for service in re.findall(r"`docker compose (?:ps|up -d|logs --tail 50) ([\w-]+)`", text):
        assert service in services()


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", str(RULES))
