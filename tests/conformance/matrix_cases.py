"""The cases of docs/conformance.md: which test shows a case on which destination, and where none does, why.

A destination's cell is filled by a test whose parameters name the destination, by a test of its own (`own`), or by a
reason. `tests/docs/test_docs_conformance.py` checks that each cell has exactly one of them and that the tests exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = ("ducklake", "duckdb", "postgres", "timescaledb", "trino", "snowflake")
NOT_SHOWN = "not shown: "
"""How a reason begins where the case makes sense, and no test shows it yet."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `tests` are FILE::TEST below tests/conformance, or below tests/ where FILE has a folder."""

    title: str
    tests: tuple[str, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    """A reason may stand for several destinations: their names with spaces between."""

    def reason(self, kind: str) -> str | None:
        """Return why no test shows the case there."""
        return next((why for kinds, why in self.reasons.items() if kind in kinds.split()), None)


SAME, FAULTS, SERVER = "test_destination_conformance.py::", "test_destination_faults.py::", "test_server_faults.py::"
NETWORK, WRITERS, TRINO = "test_network_faults.py::", "test_writer_faults.py::", "test_trino_faults.py::"
LOCAL = "it lies on this machine: there is no network between"
ONE_SESSION = "its stand-in has one session for everybody"

LOADS = (
    Case(
        "rows arrive with their package and the cursor", (f"{SAME}test_rows_arrive_with_their_package_and_the_cursor",)
    ),
    Case("a package delivered again", (f"{SAME}test_a_package_delivered_again_is_refused_and_changes_nothing",)),
    Case("a gap", (f"{SAME}test_a_gap_is_refused",)),
    Case(
        "every type to the last digit and microsecond, unicode, NULL; Parquet and CSV",
        (f"{SAME}test_every_type_is_exact_to_the_last_digit_and_microsecond",),
    ),
    Case("a new column", (f"{SAME}test_a_new_column_is_null_before_and_filled_after",)),
    Case("a column that is gone", (f"{SAME}test_a_vanished_column_is_null",)),
    Case("whole numbers become doubles", (f"{SAME}test_whole_numbers_become_doubles_in_either_order",)),
    Case("a type that conflicts", (f"{SAME}test_a_type_that_conflicts_fails_the_package_and_leaves_nothing",)),
    Case("rows set aside", (f"{SAME}test_quarantined_rows_are_kept_with_their_reason",)),
    Case("an empty package", (f"{SAME}test_an_empty_package_moves_the_cursor",)),
    Case("a large package", (f"{SAME}test_a_million_rows_load_in_seconds",)),
    Case("arrival never goes back", (f"{SAME}test_arrival_never_goes_back",)),
    Case("a missing file", (f"{SAME}test_a_missing_file_names_the_package",)),
    Case("a truncated file", (f"{SAME}test_a_truncated_file_names_the_package",)),
    Case("a replay into a new one", (f"{SAME}test_replay_into_a_fresh_warehouse_gives_the_same_rows",)),
    Case(
        "readers see what is published only",
        (f"{SAME}test_readers_see_the_published_state_only",),
        reasons={
            "postgres timescaledb snowflake": "readers see what is committed",
            "trino": "readers see each table as it is",
        },
    ),
    Case(
        "the lake is untouched by what happens to the tables",
        (f"{SAME}test_the_lake_is_untouched_by_everything_that_happens_to_the_tables",),
        {"trino": "test_trino_loads.py::test_the_lake_is_untouched_by_what_happens_to_the_tables"},
        {"postgres timescaledb snowflake": "it has the rows, not the files"},
    ),
)
DESTINATION_FAULTS = (
    Case(
        "D01 refused, then reset in mid-load, then good",
        (f"{NETWORK}test_refused_then_reset_in_mid_load_then_good",),
        reasons={"ducklake duckdb": LOCAL},
    ),
    Case(
        "D02 a black hole ends in bounded time, with one line",
        (f"{NETWORK}test_a_server_that_says_nothing_more_is_given_up",),
        reasons={"ducklake duckdb": LOCAL},
    ),
    Case(
        "the answer to a commit is lost",
        (f"{NETWORK}test_a_lost_answer_to_the_commit_loses_and_doubles_nothing",),
        reasons={"ducklake duckdb": LOCAL},
    ),
    Case(
        "D03, D20 killed in mid-load and started again",
        (
            "test_killed_servers.py::test_a_server_killed_in_mid_load_and_started_again",
            f"{FAULTS}test_a_kill_at_any_point_then_one_more_run_holds_every_row_once",
        ),
    ),
    Case(
        "D03 killed at random moments",
        (
            "test_killed_servers.py::test_kills_at_random_moments",
            f"{FAULTS}test_kills_at_random_instants_of_the_first_run",
        ),
        reasons={"timescaledb trino snowflake": "ten kills of each are in `make chaos`: a start takes seconds"},
    ),
    Case(
        "D04 somebody holds the table",
        own={"postgres": f"{SERVER}test_a_table_that_someone_holds_is_not_waited_for_for_ever"},
        reasons={
            "ducklake duckdb": "whoever writes holds the one lock: D16, X01",
            "timescaledb": ONE_SESSION,
            "trino": "Iceberg has no locks",
            "snowflake": "its stand-in has no locks",
        },
    ),
    Case(
        "D04, R04 no connection left, a statement_timeout",
        (f"{WRITERS}test_no_connection_left_and_a_statement_timeout",),
        reasons={
            "ducklake duckdb trino snowflake": "it has no limit of connections",
            "timescaledb": ONE_SESSION,
        },
    ),
    Case(
        "D05 a row breaks a constraint",
        (f"{WRITERS}test_a_row_that_breaks_a_constraint_leaves_nothing_of_its_package",),
        reasons={"ducklake duckdb trino snowflake": "nobody can add a constraint to a table there that is enforced"},
    ),
    Case(
        "D06 a right revoked between two packages",
        (f"{WRITERS}test_a_right_revoked_between_two_packages", f"{TRINO}test_a_right_revoked_between_two_packages"),
        reasons={"ducklake duckdb": "rights are the folder's", "timescaledb snowflake": "its stand-in has no rights"},
    ),
    Case(
        "D08 dropped and made anew, empty",
        (f"{WRITERS}test_a_destination_dropped_and_made_anew_is_filled_from_the_lake",),
    ),
    Case(
        "another project's database is told before it is changed",
        (f"{WRITERS}test_what_another_lake_filled_is_told_before_it_is_changed",),
    ),
    Case(
        "D09 down for many runs, others go on, then it catches up",
        (f"{WRITERS}test_down_for_many_runs_then_it_catches_up",),
        reasons={"ducklake duckdb": LOCAL},
    ),
    Case(
        "D11 a staged file of the same name and other content",
        own={"snowflake": "test_snowflake_flow.py::test_a_staged_file_of_the_same_name_and_other_content"},
        reasons={"ducklake duckdb postgres timescaledb trino": "it has no stage"},
    ),
    Case(
        "D13 a compaction beside loads",
        (f"{TRINO}test_a_compaction_beside_loads",),
        reasons={
            "ducklake": "its writer does that, under its lock",
            "duckdb postgres timescaledb snowflake": "the engine compacts nothing there",
        },
    ),
    Case(
        "D16 the file is held by another program",
        own={"duckdb": f"{FAULTS}test_a_duckdb_file_that_another_program_holds"},
        reasons={"ducklake postgres timescaledb trino snowflake": "there is no such file"},
    ),
    Case(
        "D17 rows for compressed chunks, a key with a NULL",
        own={"timescaledb": "test_timescale_faults.py::test_rows_for_compressed_chunks"},
        reasons={"ducklake duckdb postgres trino snowflake": "it has no chunks"},
    ),
    Case(
        "D18 late rows for chunks that were dropped",
        own={"timescaledb": "test_timescale_faults.py::test_late_rows_for_chunks_that_were_dropped"},
        reasons={"ducklake duckdb postgres trino snowflake": "it has no chunks"},
    ),
    Case(
        "D19 its last commits are gone",
        (
            "test_older_states.py::test_an_older_copy_of_the_warehouse_catches_up",
            f"{TRINO}test_the_last_commits_of_the_catalog_are_gone",
        ),
        {"postgres": "test_older_states.py::test_a_promoted_replica_catches_up"},
        {"timescaledb": "the same code as PostgreSQL's", "snowflake": "it has no replica to promote"},
    ),
    Case(
        "D21 connections pooled by transaction",
        own={
            "postgres": f"{SERVER}test_a_worker_behind_a_pooler_that_shares_sessions_still_loads_nothing_twice",
            "timescaledb": f"{WRITERS}test_writers_at_once_on_a_new_destination[timescaledb]",
        },
        reasons={"ducklake duckdb trino snowflake": "there is no such pooler"},
    ),
)
CONCURRENCY = (
    Case(
        "a stalled old worker behind its successor",
        (f"{WRITERS}test_a_stalled_old_worker_behind_its_successor_doubles_nothing",),
    ),
    Case("X01, D14 writers at once on a new one", (f"{WRITERS}test_writers_at_once_on_a_new_destination",)),
    Case(
        "the cursor is compared again inside the commit",
        (f"{SAME}test_the_cursor_is_compared_again_inside_the_transaction",),
    ),
    Case(
        "two commits at one moment",
        (f"{TRINO}test_two_commits_at_one_moment",),
        {"snowflake": "test_snowflake_flow.py::test_the_second_of_two_writers_rolls_back"},
        {
            "ducklake duckdb postgres": "the lock lets one write",
            "timescaledb": ONE_SESSION,
        },
    ),
    Case(
        "another machine that writes is kept out",
        (f"{TRINO}test_the_lease_keeps_another_machine_out",),
        {
            "postgres": f"{SERVER}test_a_stalled_old_worker_keeps_others_out_and_cannot_commit_afterwards",
        },
        {
            "ducklake duckdb": "its folder is of one machine",
            "timescaledb": ONE_SESSION,
            "snowflake": "the cursor decides: of two loads of a package one is committed",
        },
    ),
    Case(
        "another machine comes while a table is made anew",
        own={"trino": "test_trino_widening.py::test_another_machine_leaves_alone_what_is_being_made"},
        reasons={"ducklake duckdb postgres timescaledb snowflake": "one statement, or one transaction, alters it"},
    ),
    Case("X02 a replay beside a run", (f"{WRITERS}test_a_replay_beside_a_run",), reasons={"timescaledb": ONE_SESSION}),
    Case(
        "a replay leaves tables alone that it does not fill",
        (f"{WRITERS}test_a_replay_leaves_tables_alone_that_it_does_not_fill",),
    ),
    Case(
        "X05 readers beside a writer see whole packages",
        (
            f"{WRITERS}test_a_reader_beside_a_writer_sees_whole_packages",
            f"{FAULTS}test_readers_beside_a_writer_see_whole_packages_and_no_error",
        ),
    ),
    Case(
        "X08 housekeeping beside a slow reader",
        own={
            "ducklake": "unit/destinations/test_ducklake_housekeeping.py::"
            "test_a_reader_keeps_what_it_sees_while_everything_old_is_tidied_away",
            "duckdb": f"{SAME}test_readers_see_the_published_state_only[duckdb]",
            "trino": f"{TRINO}test_housekeeping_beside_a_slow_reader",
        },
        reasons={"postgres timescaledb snowflake": "the engine tidies nothing up there"},
    ),
    Case(
        "X09 the lock of a dead writer whose number lives on",
        (f"{FAULTS}test_a_dead_writers_lock_is_gone_whatever_its_pid_is_now",),
        reasons={
            "postgres timescaledb": "the lock is the session's and goes with it",
            "trino snowflake": "the lock is DuckLake's (engine/locks.py)",
        },
    ),
    Case(
        "X12 a new column behind a long reader does not hold up the others",
        own={"postgres": f"{SERVER}test_a_new_column_behind_a_long_reader_does_not_hold_up_the_others"},
        reasons={
            "ducklake duckdb trino snowflake": "a reader holds no lock there",
            "timescaledb": ONE_SESSION,
        },
    ),
)
EXHAUSTION = (
    Case(
        "R01 the disk is full at the destination",
        own={
            "ducklake": f"{FAULTS}test_a_full_disk_leaves_nothing_of_the_load",
            "duckdb": "faults/test_resources.py::test_a_full_disk_under_a_duckdb_file",
            "postgres": f"{SERVER}test_a_full_disk_leaves_nothing_of_the_load",
            "trino": f"{TRINO}test_no_space_for_its_files",
        },
        reasons={
            "timescaledb": "the same code as PostgreSQL's",
            "snowflake": "a stage has no end",
        },
    ),
)
GROUPS: Mapping[str, tuple[Case, ...]] = {
    "Loads": LOADS,
    "Destination faults": DESTINATION_FAULTS,
    "Concurrency": CONCURRENCY,
    "Resource exhaustion": EXHAUSTION,
}
