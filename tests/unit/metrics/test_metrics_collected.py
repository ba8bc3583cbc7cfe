"""What a scrape says of runs, and that it is cheap, bounded, monotonic and silent about secrets."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from destinations.snowflake_settings import SnowflakeSettings
from engine import ledger as ledger_module
from engine.lake.lake import open_lake
from engine.ledger import Ledger
from engine.metrics import Metrics, exposition, probes
from engine.metrics.catalogue import METRICS
from engine.metrics.collector import CACHED_SECONDS
from engine.metrics.stores import Held, Landed
from tests.faults.small_project import SMALL, SmallProject

Values = dict[tuple[str, ...], float]


def values(text: str, name: str) -> Values:
    """Values of one metric by its label values, in the order of the label names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_a_project_that_never_ran_has_metrics(shop: SmallProject) -> None:
    text = exposition(shop.project())
    assert values(text, "tickhouse_runs_total")["timely", "ok"] == 0
    assert values(text, "tickhouse_landed_rows_total")["timely", "raw_orders", "shop"] == 0
    assert values(text, "tickhouse_schedule_interval_seconds") == {("timely",): 300}
    assert values(text, "tickhouse_last_run_timestamp_seconds") == {}
    assert values(text, "tickhouse_destination_up") == {("warehouse",): 1}


def test_a_run_is_told(shop: SmallProject) -> None:
    before = time.time()
    report = shop.run("timely")
    text = exposition(shop.project())
    assert values(text, "tickhouse_runs_total")["timely", "ok"] == 1
    assert values(text, "tickhouse_landed_rows_total")["timely", "raw_orders", "shop"] == 3
    assert values(text, "tickhouse_loaded_rows_total") == {("warehouse", "daily"): 0, ("warehouse", "timely"): 3}
    assert values(text, "tickhouse_table_rows")["warehouse", "raw_orders"] == 3
    assert values(text, "tickhouse_table_packages_behind")["warehouse", "raw_orders"] == 0
    assert values(text, "tickhouse_destination_size_bytes")["warehouse",] > report.resources[1].bytes > 0
    assert before <= values(text, "tickhouse_last_success_timestamp_seconds")["timely",] <= time.time()
    assert before <= values(text, "tickhouse_table_last_load_timestamp_seconds")["warehouse", "raw_orders"]
    assert 0 <= values(text, "tickhouse_table_age_seconds")["warehouse", "raw_orders"] <= time.time() - before
    assert values(text, "tickhouse_failed_runs_in_a_row") == {("timely",): 0}
    due = values(text, "tickhouse_schedule_due_timestamp_seconds")["timely",]
    assert 0 < due - datetime.fromisoformat(report.started_at).timestamp() <= 300 + 3
    steps = values(text, "tickhouse_step_duration_seconds_count")
    assert steps["timely", "extract", "shop.raw_orders"] == steps["timely", "load", "warehouse"] == 1


def test_what_the_lake_has_and_a_destination_has_not_is_behind(shop: SmallProject) -> None:
    shop.run("timely")
    shop.orders(2)
    shop.run("land")
    text = exposition(shop.project())
    assert values(text, "tickhouse_table_packages_behind")["warehouse", "raw_orders"] == 1


STORE = """\
sources:
  store:
    type: files
    path: in
    settle_seconds: 0
    resources:
      raw_sales: {files: "sales*.jsonl", columns: {id: {type: bigint}, price: {type: decimal}, note: {}}}
"""


def test_the_newest_package_of_a_topic_is_its_own(shop: SmallProject) -> None:
    yaml = SMALL.replace("raw_orders: {", "orders: {table: raw_sales, ").replace("\nsources:\n", f"\n{STORE}")
    shop.write(f"{yaml}  more: {{extract: [store], load: [], transform: false}}\n")
    shop.deliver("sales", [{"id": 1, "price": "1.5", "note": "x"}])
    shop.run("land")
    project = shop.project()
    lake = open_lake(project.profile.lake, shop.folder, shop.data / "cache")
    before = lake.head("raw_sales")
    shop.run("more")
    after = lake.head("raw_sales")
    assert before is not None
    assert after is not None
    assert after.committed_at > before.committed_at
    topics = [replace(one, behind=lambda *_: {0: (5, 7)}) for one in project.resources["shop"]]
    text = exposition(replace(project, resources={**project.resources, "shop": topics}))
    landed_at = before.committed_at.timestamp()
    assert values(text, "tickhouse_topic_last_landed_timestamp_seconds")["orders", "shop"] == landed_at
    assert values(text, "tickhouse_table_last_landed_timestamp_seconds")["raw_sales",] > landed_at


def test_counters_outlive_the_runs_that_are_forgotten(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "KEEP_RUNS", 2)
    seen = []
    for number in range(2, 6):
        shop.orders(number)
        shop.run("land")
        seen.append(values(exposition(shop.project()), "tickhouse_landed_rows_total")["land", "raw_orders", "shop"])
    assert len(Ledger(shop.data).last("land")) == 2
    assert seen == [6, 9, 12, 15]


def test_a_run_that_died_counts_at_once_as_failed_and_later_as_died(shop: SmallProject) -> None:
    shop.run("timely")
    Ledger(shop.data).start("gone", "timely", datetime.now(UTC) + timedelta(seconds=1))
    text = exposition(shop.project())
    assert values(text, "tickhouse_failed_runs_in_a_row") == {("timely",): 1}
    assert values(text, "tickhouse_runs_total")["timely", "died"] == 0
    Ledger(shop.data).start("next", "timely", datetime.now(UTC) + timedelta(seconds=2))
    assert values(exposition(shop.project()), "tickhouse_runs_total")["timely", "died"] == 1


def test_what_was_stopped_has_not_failed(shop: SmallProject) -> None:
    ledger = Ledger(shop.data)
    now = datetime.now(UTC)
    for number, status in enumerate(["ok", "failed", "stopped", "partial"]):
        ledger.start(status, "timely", now + timedelta(seconds=number))
        ledger.finish(status, now + timedelta(seconds=number), status, {})
    text = exposition(shop.project())
    assert values(text, "tickhouse_failed_runs_in_a_row") == {("timely",): 2}
    assert values(text, "tickhouse_runs_total")["timely", "stopped"] == 1


def test_requests_count_against_the_month(shop: SmallProject) -> None:
    ledger = Ledger(shop.data)
    now = datetime.now(UTC)
    last_month = now.replace(day=1) - timedelta(days=1)
    asked = {"source": "api", "resource": "r", "status": "landed", "rows": 1, "bytes": 1, "quarantined": 0}
    asked |= {"seconds": 0.1, "requests": 7, "retries": 2, "waited_seconds": 1.5, "lag": {}}
    for number, at in enumerate([last_month, now, now]):
        ledger.start(f"r{number}", "timely", at)
        ledger.finish(f"r{number}", at, "ok", {"resources": [asked]})
    assert ledger.requests_since(now.date().replace(day=1)) == {"api": 14}
    assert ledger.requests_since(last_month.date()) == {"api": 21}
    text = exposition(shop.project())
    assert values(text, "tickhouse_source_retries_total") == {("api",): 6}
    assert values(text, "tickhouse_source_wait_seconds_total") == {("api",): 4.5}


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Destinations that do not answer until the returned function is called."""
    answered = threading.Event()

    def hang(*_: Any) -> Any:
        answered.wait(20)
        raise OSError("it hung")

    monkeypatch.setattr("engine.metrics.collector.held", hang)
    return answered.set


def test_a_destination_that_hangs_delays_no_scrape(
    shop: SmallProject, hanging: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "OVERDUE_SECONDS", 0.2)
    shop.run("timely")
    project = shop.project()
    metrics = Metrics(lambda: project, wait_seconds=0.3)
    began = time.monotonic()
    found = {s.name: s.value for family in metrics.collect() for s in family.samples}
    assert time.monotonic() - began < 3
    assert found["tickhouse_destination_up"] == 0
    assert found["tickhouse_lake_up"] == 1
    assert "tickhouse_last_success_timestamp_seconds" in found
    hanging()


def test_scrapes_that_follow_each_other_ask_nothing_again(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run("timely")
    project = shop.project()
    asked = []
    monkeypatch.setattr("engine.metrics.collector.in_lake", lambda *_: asked.append(1) or Landed({}, {}))
    metrics = Metrics(lambda: project)
    first = list(metrics.collect())
    assert list(metrics.collect()) == first
    metrics._found_at = time.monotonic() - CACHED_SECONDS  # as if that time had passed
    assert list(metrics.collect()) is not first
    assert asked == [1]


def test_a_destination_whose_answers_are_billed_is_asked_after_loads(
    shop: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snowflake's smallest warehouse, woken each minute, costs a credit an hour."""
    asked = []
    monkeypatch.setattr("engine.metrics.collector.held", lambda *_: asked.append(1) or Held({}, (), None))
    project = shop.project()
    assert SnowflakeSettings.answers_cost
    for billed, again in ((False, 4), (True, 2)):
        monkeypatch.setattr(type(project.destinations["warehouse"]), "answers_cost", billed)
        asked.clear()
        metrics = Metrics(lambda: project, refresh_seconds=0)
        for _ in range(3):
            look(metrics)
        shop.run("timely")
        look(metrics)
        assert len(asked) == again


def test_the_first_load_of_all_is_asked_about_too(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("engine.metrics.collector.held", lambda *_: asked.append(1) or Held({}, (), None))
    project = shop.project()
    monkeypatch.setattr(type(project.destinations["warehouse"]), "answers_cost", True)
    metrics = Metrics(lambda: project)
    look(metrics)
    shop.run("timely")
    look(metrics)
    assert len(asked) == 2


def look(metrics: Metrics) -> None:
    metrics._found_at = None  # as if the time had passed for which figures are kept
    list(metrics.collect())
    metrics._destinations["warehouse"].wait(10)


def test_what_leaves_the_newest_runs_is_no_load(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("engine.metrics.collector.held", lambda *_: asked.append(1) or Held({}, (), None))
    project = shop.project()
    monkeypatch.setattr(type(project.destinations["warehouse"]), "answers_cost", True)
    shop.run("timely")
    metrics = Metrics(lambda: project)
    look(metrics)
    monkeypatch.setattr("engine.metrics.collector.NEWEST_RUNS", 0)
    look(metrics)
    assert len(asked) == 1


def test_one_that_hangs_is_down_also_after_a_run_that_tried_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "OVERDUE_SECONDS", 0.05)
    hangs = threading.Event()
    probe = probes.Probe("it", lambda: hangs.wait(20))
    probe.refresh()
    time.sleep(0.1)
    assert probe.up is False
    probe.expire()
    probe.refresh()
    assert probe.up is False
    hangs.set()
    probe.wait(10)
    assert probe.up


def test_an_answer_that_failed_is_asked_for_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "REFRESH_SECONDS", 0.0)
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("it was away")

    probe = probes.Probe("it", ask, refresh_seconds=3600)
    for _ in range(3):
        probe.refresh()
        probe.wait(10)
    assert len(asked) == 2
    assert probe.up


def test_samples_are_those_of_the_catalogue(shop: SmallProject) -> None:
    shop.run("timely")
    kinds = {metric.name: metric for metric in METRICS}
    names = set()
    project = shop.project()
    for sample in Metrics(lambda: project, wait_seconds=20)._samples():  # a busy machine answers late
        base = re.sub(r"_(sum|count)$", "", sample.name)
        metric = kinds[sample.name] if sample.name in kinds else kinds[base]
        assert tuple(sorted(sample.labels)) == metric.labels, sample
        names.add(metric.name)
    assert len(names) > 25


def test_names_follow_prometheus_conventions() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"tickhouse_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert list(metric.labels) == sorted(metric.labels), metric.name
        assert not {"run_id", "load_id", "error", "symbol"} & set(metric.labels)
        assert metric.meaning.endswith(".")


SECRET = "zq7-Planted-Secret-0451-abcdefgh"  # noqa: S105


def test_no_secret_is_in_the_metrics(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write(
        SMALL.replace("warehouse}\n", "warehouse}\n    other: {type: postgres, dsn: '${DSN}'}\n", 1).replace(
            "load: [warehouse]", "load: [warehouse, other]"
        )
    )
    monkeypatch.setenv("DSN", f"postgresql://user:{SECRET}@127.0.0.1:1/prices")
    done = shop.engine("run", "daily")
    assert done.returncode == 1, done.stdout + done.stderr
    shown = shop.engine("metrics")
    assert shown.returncode == 0, shown.stderr
    assert values(shown.stdout, "tickhouse_destination_up") == {("other",): 0, ("warehouse",): 1}
    assert values(shown.stdout, "tickhouse_destination_load_failed") == {("other",): 1, ("warehouse",): 0}
    assert SECRET not in shown.stdout + shown.stderr + done.stdout + done.stderr


def test_the_data_folder_need_not_exist(tmp_path: Path) -> None:
    project = SmallProject(tmp_path)
    project.write(SMALL)
    text = exposition(project.project())
    assert values(text, "tickhouse_data_free_bytes")[()] > 0
    assert not (tmp_path / ".data" / "state").exists()
