"""What `engine demo` runs and says: the pipelines that need no key and no network, on the market replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.report import RunReport


def pipelines_of(project: Project) -> list[str]:
    """Every pipeline of the file that has something to extract in the demo profile."""
    return [name for name in project.file.pipelines if project.resources_of(name)]


def opening_words(project: Project) -> str:
    """Say what will happen, and that the prices are not real."""
    counts = ", ".join(f"{len(assets)} {name}" for name, assets in project.assets.items())
    return (
        f"Tickhouse demo: {counts}; a bundled market replay on this machine stands in for the APIs.\n"
        "All its prices, news and customers are SIMULATED.\n"
    )


def closing_words(project: Project, reports: Sequence[RunReport]) -> str:
    """Say what was built and what to type next."""
    rows = sum(r.rows for report in reports for r in report.resources)
    simulated = sum(r.rows for report in reports for r in report.resources if r.simulated)
    tables = len({r.table for report in reports for r in report.resources if r.rows})
    failed = [report.pipeline for report in reports if report.status == "failed"]
    short = [report.pipeline for report in reports if report.status != "ok"]
    if len(failed) == len(reports):
        return (
            "\nNothing was built: every pipeline failed, the reasons stand above. "
            "`engine doctor -p demo` looks for what is wrong."
        )
    built = f"Built without all of {', '.join(short)} (the reasons stand above)" if short else "Built"
    what = f"{counted(rows, 'row')} in {counted(tables, 'table')} ({simulated:,} of them simulated)"
    return f"""
{built} in {project.profile.data}: {what}, landed once in the
lake, loaded into the embedded warehouse, and modelled: vault, marts and semantic views. Next:
  .venv/bin/engine query "select count(*) from marts.fct_asset_prices" -p demo
  .venv/bin/engine query "from marts.fct_asset_candles where asset_symbol = 'BTC' limit 5" -p demo
  .venv/bin/engine status -p demo                what ran, and how fresh each table is
  .venv/bin/engine plan                          what pipelines.yaml will do with real prices
  .venv/bin/engine run prices-crypto-pipeline    today's prices (needs a network, no key)"""
