from engine.report import DestinationReport, ResourceReport, RunReport, TransformReport
from engine.summary import summary


def report(**changes):
    return RunReport("r1", "prices", "local", "2026-01-01T00:00:00+00:00", **changes)


def test_a_run_without_failures_is_ok():
    run = report(resources=[ResourceReport("binance", "tickers", "raw_x", "landed", rows=3)])
    assert run.status == "ok"
    assert run.failures == []


def test_one_failed_source_makes_the_run_partial_with_one_line():
    failed = ResourceReport("coingecko", "markets", "raw_y", "failed", error="coingecko: 451\n here", remedy="move")
    run = report(resources=[ResourceReport("binance", "tickers", "raw_x", "landed"), failed])
    assert run.status == "partial"
    assert run.failures == ["coingecko: 451 here — move"]


def test_nothing_that_worked_is_failed():
    run = report(resources=[ResourceReport("a", "b", "c", "failed", error="x")])
    assert run.status == "failed"


def test_a_failed_model_run_is_a_failure_though_everything_landed():
    run = report(
        resources=[ResourceReport("a", "b", "c", "landed")],
        transforms=[TransformReport("warehouse", "failed", error="model x: boom")],
    )
    assert run.failures == ["warehouse: model x: boom"]


def test_the_summary_names_rows_quarantine_notices_failures_and_that_prices_are_simulated():
    run = report(
        resources=[
            ResourceReport(
                "binance", "tickers", "raw_x", "landed", rows=1234, simulated=True, notices=["binance: BAD: no"]
            ),
            ResourceReport("coingecko", "markets", "raw_y", "failed", error="coingecko: HTTP 451"),
        ],
        destinations=[DestinationReport("warehouse", "loaded", packages=1, rows=1234)],
    )
    page = summary(run)
    for part in (
        "1,234",
        "warehouse: loaded, 1,234 rows in 1 package, 0 kB",
        "simulated",
        "note: binance: BAD: no",
        "FAILED: coingecko: HTTP 451",
        "done in part",
    ):
        assert part in page


AWAY = "refuses the connection"
REMEDY = "Run again later."


def away(source, resource, where):
    return ResourceReport(
        source,
        resource,
        f"raw_{resource}",
        "failed",
        error=f"{source}: {where} {AWAY} (5 times within 12 s)",
        remedy=REMEDY,
        notices=[f"{source}: BTC: {where} {AWAY} (once within 0 s) — {REMEDY}"] * 2,
    )


def test_resources_of_a_source_that_is_away_share_one_line_and_their_notices_are_left_out():
    run = report(
        resources=[
            away("binance", "ticker", "127.0.0.1:1/ticker"),
            away("binance", "candles", "127.0.0.1:1/klines"),
            away("coingecko", "markets", "127.0.0.1:1/markets"),
        ]
    )
    assert len(run.failures) == 3
    page = summary(run).splitlines()
    assert [line for line in page if AWAY in line] == [
        f"FAILED: binance: 127.0.0.1:1/ticker {AWAY} (5 times within 12 s) (also: candles) — {REMEDY}",
        f"FAILED: coingecko: 127.0.0.1:1/markets {AWAY} (5 times within 12 s) — {REMEDY}",
    ]


def test_resources_of_a_source_that_failed_for_different_causes_have_lines_of_their_own():
    first, second = away("binance", "ticker", "127.0.0.1:1/ticker"), away("binance", "candles", "127.0.0.1:1/klines")
    second.error = "binance: 127.0.0.1:1/klines answered 451"
    assert len([line for line in summary(report(resources=[first, second])).splitlines() if "FAILED" in line]) == 2


def test_a_destination_that_no_retry_mends_is_a_mistake_of_the_file():
    wrong = DestinationReport("store", "failed", errors=["store: its dsn cannot be read"], retry=False)
    down = DestinationReport("other", "failed", errors=["other: cannot be reached"])
    assert report(destinations=[wrong]).exit_code == 2
    assert report(destinations=[wrong, down]).exit_code == 1
