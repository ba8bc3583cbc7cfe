"""The repository's alert rules for a soak of any length, and which alerts fired when."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.faults.trial import ROOT
from tests.servers.prometheus_server import PrometheusServer

RULES = ROOT / "deploy" / "prometheus" / "rules" / "tickhouse.yml"
FULL_MINUTES = 60
SHORTEST_SECONDS = 15
UNITS = {"s": 1, "m": 60, "h": 3600}
SUBJECTS = ("destination", "pipeline", "source", "model", "resource")


@dataclass(frozen=True)
class Fired:
    """An alert that fired from one instant (time.time()) to another. `subject`: the pipeline, the destination ..."""

    name: str
    subject: str
    began: float
    ended: float

    def __str__(self) -> str:
        return f"{self.name} {self.subject}".strip()


def for_seconds(written: str, minutes: int) -> int:
    """How long a condition has to hold in a soak of so many minutes, where the rules write it for an hour or more.

    In proportion, but at least 15 seconds: a scrape that a busy machine misses is no outage. From an hour on, as
    written. Ranges within expressions stay as they are: a wider one only sees more.
    """
    number, unit = re.fullmatch(r"(\d+)([smh])", written).groups()  # type: ignore[union-attr]
    seconds = int(number) * UNITS[unit]
    return max(min(seconds, SHORTEST_SECONDS), round(seconds * min(1.0, minutes / FULL_MINUTES)))


def scaled_rules(minutes: int, file: Path) -> Path:
    """Write the rules with `for:` as a soak of so many minutes has it."""
    document = yaml.safe_load(RULES.read_text())
    for rule in rules(document):
        if "for" in rule:
            rule["for"] = f"{for_seconds(rule['for'], minutes)}s"
    file.write_text(yaml.safe_dump(document))
    return file


def rules(document: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return (rule for group in document["groups"] for rule in group["rules"])


def fired(prometheus: PrometheusServer, began: float, ended: float, step: float) -> list[Fired]:
    """Every alert that fired in between, one for each stretch of time."""
    found = []
    for series in prometheus.history('ALERTS{alertstate="firing"}', began, ended, step):
        labels = series["metric"]
        subject = next((labels[name] for name in SUBJECTS if name in labels), "")
        stretch: list[float] = []
        for at in [float(at) for at, _ in series["values"]]:
            if stretch and at - stretch[-1] > 3 * step:
                found.append(Fired(labels["alertname"], subject, stretch[0], stretch[-1]))
                stretch = []
            stretch.append(at)
        found.append(Fired(labels["alertname"], subject, stretch[0], stretch[-1]))
    return sorted(found, key=lambda each: each.began)
