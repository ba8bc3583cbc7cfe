"""Every metric: name, type, labels and meaning. docs/metrics.md lists the same, and a test compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PIPELINE = ("pipeline",)
SOURCE = ("source",)
RESOURCE = ("pipeline", "resource", "source")
LOADED = ("destination", "pipeline")
TABLE = ("destination", "table")
PARTITION = ("partition", "resource", "source")
CHECK = ("blocking", "check", "model", "warehouse")
UNITS = ("bytes", "messages", "packages", "requests", "rows", "seconds")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `labels` stand in the order of their names; a summary has `_sum` and `_count`."""

    name: str
    kind: Literal["counter", "gauge", "summary"]
    labels: tuple[str, ...]
    meaning: str

    @property
    def unit(self) -> str:
        """The unit that its name says, or ''."""
        words = self.name.removesuffix("_total").rsplit("_", 1)[-1]
        return words if words in UNITS else ""


METRICS = (
    Metric("tickhouse_info", "gauge", ("profile", "version"), "Always 1: which profile and version this is."),
    # runs, from the ledger
    Metric(
        "tickhouse_runs_total",
        "counter",
        ("pipeline", "status"),
        "Runs that ended: ok, partial, failed, stopped or died.",
    ),
    Metric("tickhouse_run_duration_seconds", "summary", PIPELINE, "How long runs took."),
    Metric(
        "tickhouse_step_duration_seconds",
        "summary",
        ("pipeline", "step", "target"),
        "How long steps took: extract, load, transform.",
    ),
    Metric("tickhouse_step_failures_total", "counter", ("pipeline", "step", "target"), "Steps that failed."),
    Metric("tickhouse_run_in_progress", "gauge", PIPELINE, "1 while a run is under way."),
    Metric("tickhouse_last_run_start_timestamp_seconds", "gauge", PIPELINE, "When the newest run began."),
    Metric("tickhouse_last_run_timestamp_seconds", "gauge", PIPELINE, "When the newest run that ended did."),
    Metric("tickhouse_last_run_duration_seconds", "gauge", PIPELINE, "How long the newest run that ended took."),
    Metric(
        "tickhouse_last_success_timestamp_seconds",
        "gauge",
        PIPELINE,
        "When the newest run that went well ended; no backfill counts.",
    ),
    Metric(
        "tickhouse_failed_runs_in_a_row",
        "gauge",
        PIPELINE,
        "Runs since the last that went well which failed, went well in part, or died; no backfill counts.",
    ),
    Metric(
        "tickhouse_schedule_interval_seconds",
        "gauge",
        PIPELINE,
        "Time between the run that is due and the one after it.",
    ),
    Metric(
        "tickhouse_schedule_due_timestamp_seconds",
        "gauge",
        PIPELINE,
        "When the run after the newest one is due by the schedule; no backfill stands for it. None while it is paused.",
    ),
    # what was landed and loaded
    Metric("tickhouse_landed_rows_total", "counter", RESOURCE, "Rows landed in the lake."),
    Metric("tickhouse_landed_bytes_total", "counter", RESOURCE, "Bytes of the packages landed."),
    Metric("tickhouse_landed_packages_total", "counter", RESOURCE, "Packages landed."),
    Metric("tickhouse_quarantined_rows_total", "counter", RESOURCE, "Rows set aside in landing._quarantine."),
    Metric("tickhouse_dead_letters_total", "counter", RESOURCE, "Messages of a topic that could not be landed."),
    Metric("tickhouse_loaded_rows_total", "counter", LOADED, "Rows loaded into a destination."),
    Metric("tickhouse_loaded_bytes_total", "counter", LOADED, "Bytes of the packages loaded."),
    Metric("tickhouse_loaded_packages_total", "counter", LOADED, "Packages loaded."),
    Metric("tickhouse_models_evaluated_total", "counter", ("pipeline", "warehouse"), "Models that were run."),
    # what APIs were asked
    Metric("tickhouse_source_requests_total", "counter", SOURCE, "Requests sent to an API, tries included."),
    Metric("tickhouse_source_retries_total", "counter", SOURCE, "Requests that asked the same once more."),
    Metric(
        "tickhouse_source_wait_seconds_total",
        "counter",
        SOURCE,
        "Time spent waiting for a rate limit or before a retry.",
    ),
    Metric("tickhouse_source_quota_requests", "gauge", SOURCE, "Requests that the API's plan allows in a month."),
    Metric("tickhouse_source_quota_used_requests", "gauge", SOURCE, "Requests sent in this month (UTC)."),
    Metric("tickhouse_source_quota_left_requests", "gauge", SOURCE, "Requests of this month that are left."),
    Metric("tickhouse_source_quota_planned_requests", "gauge", SOURCE, "Requests that the schedules ask in 30 days."),
    # destinations, asked now and then
    Metric("tickhouse_destination_up", "gauge", ("destination",), "1 if the destination answered, 0 if it did not."),
    Metric("tickhouse_destination_load_failed", "gauge", ("destination",), "1 if the newest load into it failed."),
    Metric("tickhouse_destination_size_bytes", "gauge", ("destination",), "Bytes that it takes on its disks."),
    Metric("tickhouse_table_rows", "gauge", TABLE, "Rows loaded into a landing table."),
    Metric(
        "tickhouse_table_last_load_timestamp_seconds", "gauge", TABLE, "When the newest package of a table arrived."
    ),
    Metric("tickhouse_table_age_seconds", "gauge", TABLE, "Time since then."),
    Metric(
        "tickhouse_table_packages_behind",
        "gauge",
        TABLE,
        "Packages in the lake that the destination does not have yet, of tables that a pipeline loads there.",
    ),
    Metric("tickhouse_lake_up", "gauge", (), "1 if the lake answered, 0 if it did not."),
    Metric(
        "tickhouse_table_last_landed_timestamp_seconds",
        "gauge",
        ("table",),
        "When the newest package of a table was landed.",
    ),
    Metric("tickhouse_check_failed_rows", "gauge", CHECK, "Rows that failed a check the last time it ran; 0: passed."),
    # topics
    Metric(
        "tickhouse_topic_up",
        "gauge",
        ("resource", "source"),
        "1 if the brokers told where the topic ends, 0 if they did not.",
    ),
    Metric(
        "tickhouse_topic_lag_messages",
        "gauge",
        PARTITION,
        "Messages of a partition that are not landed yet: asked of the brokers, or what the last run left.",
    ),
    Metric(
        "tickhouse_topic_last_landed_timestamp_seconds",
        "gauge",
        ("resource", "source"),
        "When the newest package of a topic was landed.",
    ),
    Metric("tickhouse_topic_landed_offset", "gauge", PARTITION, "Offset of a partition to land next."),
    Metric("tickhouse_topic_end_offset", "gauge", PARTITION, "Offset at which a partition ends."),
    # this machine
    Metric("tickhouse_data_free_bytes", "gauge", (), "Bytes free on the disk of the data folder."),
    Metric(
        "tickhouse_metrics_age_seconds", "gauge", ("asked",), "Time since a destination, a topic or the lake answered."
    ),
)
