"""The demo's last words say what happened, not what was meant to happen."""

from pathlib import Path

from engine.config.load import load_project
from engine.demo import closing_words
from engine.report import ResourceReport, RunReport

PROJECT = load_project(Path(__file__).parents[3] / "pipelines.yaml", profile="demo", env={})


def run(pipeline, **changes):
    return RunReport("r", pipeline, "demo", "2026-01-01T00:00:00+00:00", **changes)


LANDED = ResourceReport("faker", "raw_customers", "raw_customers", "landed", rows=1000)


def test_built():
    assert closing_words(PROJECT, [run("a", resources=[LANDED])]).startswith(
        "\nBuilt in .data/demo: 1,000 rows in 1 table ("
    )


def test_built_in_part_names_the_pipelines_that_fell_short():
    words = closing_words(PROJECT, [run("a", resources=[LANDED]), run("b", errors=["busy"])])
    assert words.startswith("\nBuilt without all of b (the reasons stand above) in .data/demo")


def test_nothing_was_built():
    words = closing_words(PROJECT, [run("a", errors=["busy"]), run("b", errors=["busy"])])
    assert "Nothing was built" in words
    assert "Built" not in words
    assert "engine doctor -p demo" in words
