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
    for part in ("1,234", "simulated", "note: binance: BAD: no", "FAILED: coingecko: HTTP 451", "done in part"):
        assert part in page
