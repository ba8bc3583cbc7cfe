"""Variables and profiles: where values come from, what is secret, what is skipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compose import compose
from engine.config.document import parse
from engine.config.environment import Resolver, read_env_file
from engine.config.load import Project
from engine.doctor import examine
from engine.errors import UsageError
from engine.progress import Silent
from engine.run import Runner

KEY = ("${COINGECKO_API_KEY:-}", "${COINGECKO_API_KEY}")
OPTIONAL = ("    type: rest", "    type: rest\n    optional: true")


def resolve(text: str, **env: str) -> tuple[object, set[str]]:
    document = parse(text.encode(), "f")
    resolver = Resolver(document, env)
    return resolver.resolve(document.value, ()).value, resolver.secrets


def test_variables_and_defaults() -> None:
    text = 'a: "${A}"\nb: ${B:-two}\nc: x${A}y${B:-}z\nd: $${A}\ne: ["${A}", 1]\n'
    assert resolve(text, A="one") == (
        {"a": "one", "b": "two", "c": "xoneyz", "d": "${A}", "e": ["one", 1]},
        {"one"},
    )


def test_where_something_is_may_be_told_and_what_lets_us_in_may_not() -> None:
    text = 'brokers: "${B}"\nsecret_key: "${K}"\nlake: {endpoint: "${E}"}\nhost: "${W}"\n'
    assert resolve(text, B="kafka:9092", K="hidden", E="http://s3:9000", W="me:word@host")[1] == {
        "hidden",
        "me:word@host",
    }


@settings(deadline=None)
@given(st.text(min_size=1))
def test_a_value_cannot_add_yaml(value: str) -> None:
    assert resolve('a: "${A}"\nb: 1\n', A=value)[0] == {"a": value, "b": 1}


def test_a_default_is_no_secret_and_an_empty_variable_takes_it() -> None:
    assert resolve("a: ${A:-fallback}", A="") == ({"a": "fallback"}, set())


def test_numbers_may_come_from_variables(edited: Callable[..., Project]) -> None:
    project = edited(("top: 3", 'top: "${TOP}"'), env={"TOP": "2"})
    assert [asset.symbol for asset in project.assets["crypto"]] == ["BTC", "ETH"]


def test_env_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# comment\n\nA=1\nexport B='two words'\nC=\"x#y\" \nD=plain # why\nE=a=b\n")
    assert read_env_file(path) == {"A": "1", "B": "two words", "C": "x#y", "D": "plain", "E": "a=b"}
    assert read_env_file(tmp_path / "none") == {}
    path.write_text("A=1\nsecret words\n")
    with pytest.raises(UsageError, match=r"\.env:2  not a NAME=value line\n  Fix line 2 of \.env\.") as caught:
        read_env_file(path)
    assert "secret" not in str(caught.value)


def test_the_environment_wins_over_the_env_file(folder: Path, edited: Callable[..., Project]) -> None:
    (folder / ".env").write_text("COINGECKO_API_KEY=from-file\nENGINE_PROFILE=cloud\n")
    assert edited(KEY, env={"ENGINE_PROFILE": "local"}).secrets == {"from-file"}
    both = edited(KEY, env={"ENGINE_PROFILE": "local", "COINGECKO_API_KEY": "from-process"})
    assert both.secrets == {"from-process"}


def test_the_argument_wins_over_engine_profile(edited: Callable[..., Project]) -> None:
    assert edited(env={"ENGINE_PROFILE": "cloud"}, profile="local").profile_name == "local"


def test_an_optional_source_is_skipped_with_one_line(edited: Callable[..., Project]) -> None:
    project = edited(KEY, OPTIONAL)
    assert project.skipped_sources == {"coingecko": "COINGECKO_API_KEY is not set (pipelines.yaml:22)"}
    assert "coingecko" not in project.sources
    assert [(source, one.name) for source, one in project.resources_of("prices-crypto-pipeline")] == [
        ("yfinance", "crypto")
    ]
    assert [quota.source for quota in project.quota.sources] == ["yfinance"]


def test_an_optional_source_is_still_checked(refused: Callable[..., str]) -> None:
    said = refused(KEY, OPTIONAL, ("path: coins/markets", "pth: coins/markets"))
    assert "sources.coingecko.resources.raw_cryptoprices_coingecko.pth" in said


def test_the_replay_needs_no_key(edited: Callable[..., Project]) -> None:
    project = edited(KEY, ("  local:\n", "  local:\n    market: replay\n"))
    assert project.skipped_sources == {}
    assert "coingecko" in project.sources


def test_a_destination_of_other_profiles_is_skipped_with_one_line(edited: Callable[..., Project]) -> None:
    project = edited()
    assert project.notes == (
        "prices-crypto-pipeline: destination timeseries is skipped, profile local has none of that name",
    )
    assert list(project.destinations) == ["warehouse"]


FAR = "    far: {type: postgres, dsn: '${FAR_DSN}', optional: true}\n"
SNOW = (FAR, "    snow: {type: snowflake, account: '${ACCOUNT}', user: u, password: '${PASSWORD}', optional: true}\n")
OPTIONAL_FAR = (
    ("path: .data/warehouse}\n", f"path: .data/warehouse}}\n{FAR}"),
    ("load: [warehouse, timeseries]", "load: [warehouse, far]"),
)


def test_an_optional_destination_is_left_out_while_a_variable_is_not_set(edited: Callable[..., Project]) -> None:
    project = edited(*OPTIONAL_FAR)
    assert project.skipped_destinations == {"far": "FAR_DSN is not set (pipelines.yaml:11)"}
    assert project.notes == ("destination far is left out: FAR_DSN is not set (pipelines.yaml:11)",)
    assert list(project.destinations) == ["warehouse"]
    composed = compose(project, "prices-crypto-pipeline")
    assert list(composed.destinations) == ["warehouse"]
    assert composed.skipped == ["destination far is left out: FAR_DSN is not set (pipelines.yaml:11)"]
    with pytest.raises(UsageError, match="destination far is left out: FAR_DSN is not set"):
        Runner(project, Silent()).replay("far")
    [found] = [each for each in examine(project) if each.what == "destination far"]
    assert (found.ok, found.detail) == (True, "optional and left out: FAR_DSN is not set (pipelines.yaml:11)")
    nowhere = edited(
        *OPTIONAL_FAR, ("load: [warehouse, far]", "load: [warehouse, snow]\n    transform: {on: [snow]}"), SNOW
    )
    assert "its models run nowhere: of snow none is here" in compose(nowhere, "prices-crypto-pipeline").skipped
    there = edited(*OPTIONAL_FAR, env={"FAR_DSN": "postgresql://h/x"})
    assert (list(there.destinations), there.skipped_destinations, there.notes) == (["warehouse", "far"], {}, ())


def test_a_destination_that_is_not_optional_has_to_have_its_variables(refused: Callable[..., str]) -> None:
    said = refused(OPTIONAL_FAR[0], OPTIONAL_FAR[1], (", optional: true", ""))
    assert "profiles.local.far.dsn" in said
    assert "FAR_DSN is not set" in said
    assert "A destination with `optional: true` is left out instead." in said


def test_an_optional_destination_is_still_checked(refused: Callable[..., str]) -> None:
    assert "profiles.local.far.dns" in refused(*OPTIONAL_FAR, ("dsn: '$", "dns: '$"))


def test_nothing_secret_in_a_project_as_text(edited: Callable[..., Project]) -> None:
    assert "hush-hush" not in repr(edited(KEY, env={"COINGECKO_API_KEY": "hush-hush"}))


def test_where_names_file_and_line(edited: Callable[..., Project]) -> None:
    assert edited().where("pipelines", "prices-stock-pipeline", "schedule") == "pipelines.yaml:42"
