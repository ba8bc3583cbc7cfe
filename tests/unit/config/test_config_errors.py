"""Every mistake in pipelines.yaml: the whole text that a user reads."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping

import pytest

from engine.config.load import Project

Refused = Callable[..., str]
END = "\n\nFix pipelines.yaml, then run `engine validate`."


def expected(text: str) -> str:
    return textwrap.dedent(text).strip("\n") + END


def test_unknown_key(refused: Refused) -> None:
    assert refused(("top: 3", "topp: 3")) == expected("""
pipelines.yaml:4  assets.crypto.topp
   2 |
   3 | assets:
 > 4 |   crypto: {file: assets.csv, where: {asset_type: crypto}, topp: 3}
     |                                                           ^^^^
   5 |   stocks: {file: assets.csv, where: {asset_type: stock}, add: [ARM]}
   6 |
   7 | profiles:
  unknown key 'topp'
  Did you mean 'top'? Keys here: add, asset_type, file, top, where.
""")


def test_wrong_type(refused: Refused) -> None:
    assert refused(("top: 3", "top: many")) == expected("""
pipelines.yaml:4  assets.crypto.top
   2 |
   3 | assets:
 > 4 |   crypto: {file: assets.csv, where: {asset_type: crypto}, top: many}
     |                                                                ^^^^
   5 |   stocks: {file: assets.csv, where: {asset_type: stock}, add: [ARM]}
   6 |
   7 | profiles:
  wrong type: expected a whole number, found text
  Set a whole number here.
""")


def test_unknown_source(refused: Refused) -> None:
    assert refused(("[coingecko, ", "[coingeko, ")) == expected("""
pipelines.yaml:39  pipelines.prices-crypto-pipeline.extract[0]
   37 |   prices-crypto-pipeline:
   38 |     schedule: "0 20 * * *"
 > 39 |     extract: [coingeko, yfinance.crypto]
      |               ^^^^^^^^
   40 |     load: [warehouse, timeseries]
   41 |   prices-stock-pipeline:
   42 |     schedule: "0 20 * * *"
  unknown source 'coingeko'
  Did you mean 'coingecko'? Set one of: coingecko, yfinance.
""")


def test_missing_variable_names_the_variable_and_its_line(refused: Refused) -> None:
    assert refused(("${COINGECKO_API_KEY:-}", "${COINGECKO_API_KEY}")) == expected("""
pipelines.yaml:21  sources.coingecko.client.auth.key
   19 |     client:
   20 |       base_url: https://api.coingecko.com/api/v3
 > 21 |       auth: {type: api_key, header: x-cg-demo-api-key, key: "${COINGECKO_API_KEY}"}
      |                                                             ^^^^^^^^^^^^^^^^^^^^^^
   22 |       limits: {per_minute: 30, per_month: 10000}
   23 |     resources:
   24 |       raw_cryptoprices_coingecko:
  the environment variable COINGECKO_API_KEY is not set
  Set COINGECKO_API_KEY in the environment or in .env, or write a default: ${COINGECKO_API_KEY:-...}. A source with `optional: true` is skipped instead.
""")  # noqa: E501 - the message as it is printed


def test_schedule_that_the_transforms_cannot_follow(refused: Refused) -> None:
    edits = (("per_month: 10000", "per_month: 100000"), ('"0 20 * * *"', '"*/2 * * * *"'))
    assert refused(*edits) == expected("""
pipelines.yaml:38  pipelines.prices-crypto-pipeline.schedule
   36 | pipelines:
   37 |   prices-crypto-pipeline:
 > 38 |     schedule: "*/2 * * * *"
      |               ^^^^^^^^^^^^^
   39 |     extract: [coingecko, yfinance.crypto]
   40 |     load: [warehouse, timeseries]
   41 |   prices-stock-pipeline:
  the models cannot follow a schedule of every 2 minutes
  Set 5 minutes or more ("*/5 * * * *"), or `transform: false` to load without running models.
""")


def test_quota_refuses_with_the_line_of_the_schedule(refused: Refused) -> None:
    assert refused(("per_month: 10000", "per_month: 8000"), ('"0 20 * * *"', '"*/5 * * * *"')) == expected("""
pipelines.yaml:38  pipelines.prices-crypto-pipeline.schedule
   36 | pipelines:
   37 |   prices-crypto-pipeline:
 > 38 |     schedule: "*/5 * * * *"
      |               ^^^^^^^^^^^^^
   39 |     extract: [coingecko, yfinance.crypto]
   40 |     load: [warehouse, timeseries]
   41 |   prices-stock-pipeline:
  coingecko: 8,640 calls a month; the plan allows 8,000: every 10 minutes would fit
  Set a schedule that fits, or fewer assets, or a larger plan.
""")


LINES = {
    # edit: (old, new), line and path, reason, remedy
    "destination": (
        ("[warehouse, t", "[warehose, t"),
        "40  pipelines.prices-crypto-pipeline.load[0]",
        "unknown destination 'warehose'",
        "Did you mean 'warehouse'? Set one of: timeseries, warehouse.",
    ),
    "destination type": (
        ("type: ducklake", "type: duckleak"),
        "10  profiles.local.warehouse.type",
        "unknown destination type 'duckleak'",
        "Did you mean 'ducklake'?",
    ),
    "source type": (
        ("type: yfinance", "type: yfinanse"),
        "31  sources.yfinance.type",
        "unknown source type 'yfinanse'",
        "Did you mean 'yfinance'?",
    ),
    "no type": (
        ("    type: yfinance\n", ""),
        "30  sources.yfinance",
        "the key 'type' is missing",
        "Set `type:` to one of",
    ),
    "lake type": (
        ("type: filesystem", "type: filesytem"),
        "9  profiles.local.lake.type",
        "'filesytem' is not one of the values known here",
        "Did you mean 'filesystem'? Set one of: filesystem, s3.",
    ),
    "missing key": (
        ("{type: s3, bucket: raw-data, ", "{type: s3, "),
        "12  profiles.cloud.lake.bucket",
        "the key 'bucket' is missing",
        "Set 'bucket' here.",
    ),
    "resource": (
        ("yfinance.crypto]", "yfinance.cryto]"),
        "39  pipelines.prices-crypto-pipeline.extract[1]",
        "unknown resource 'yfinance.cryto'",
        "Did you mean 'yfinance.crypto'?",
    ),
    "resource twice": (
        ("[coingecko, ", "[coingecko, yfinance, "),
        "39  pipelines.prices-crypto-pipeline.extract[2]",
        "'yfinance.crypto' is extracted twice: a duplicate",
        "Fix it: remove one of the two.",
    ),
    "asset list": (
        ("assets: stocks", "assets: stoks"),
        "34  sources.yfinance.resources.stocks.assets",
        "unknown asset list 'stoks'",
        "Did you mean 'stocks'?",
    ),
    "list in a parameter": (
        ("{assets.crypto.", "{assets.crpto."),
        "26  sources.coingecko.resources.",
        "unknown asset list 'crpto'",
        "Did you mean 'crypto'?",
    ),
    "asset column": (
        ("crypto.coingecko}", "crypto.coingeko}"),
        "26  sources.coingecko.resources.",
        "unknown asset column 'coingeko'",
        "Did you mean 'coingecko'?",
    ),
    "cron": (
        ('"0 20 * * *"', '"0 25 * * *"'),
        "38  pipelines.prices-crypto-pipeline.schedule",
        "not a cron schedule: ",
        "Set five cron fields",
    ),
    "cron fields": (
        ('"0 20 * * *"', "daily"),
        "38  pipelines.prices-crypto-pipeline.schedule",
        "a schedule has five fields (minute hour day month weekday), this has 1",
        "Set five cron fields",
    ),
    "time zone": (
        ("Ho_Chi_Minh", "Ho_Chi_Min"),
        "1  timezone",
        "unknown time zone 'Asia/Ho_Chi_Min'",
        "Did you mean 'Asia/Ho_Chi_Minh'?",
    ),
    "duplicate key": (
        ("  cloud:\n", "  local:\n"),
        "11",
        "duplicate key 'local': it stands on lines 8 and 11",
        "rename",
    ),
    "same table name": (
        ("  yfinance:\n", "  coin-gecko: {type: yfinance, resources: {}}\n  coin_gecko:\n"),
        "31  sources.coin_gecko",
        "the names 'coin-gecko' and 'coin_gecko' become the same",
        "rename one of the two",
    ),
    "table outside": (
        ("raw_stockprices_yfinance", "../evil"),
        "34  sources.yfinance.resources.stocks.table",
        "the name '../evil' is not allowed here",
        "Set a name of at most 63 characters",
    ),
    "table encoded": (
        ("raw_stockprices_yfinance", '"%2e%2e"'),
        "34  sources.yfinance",
        "the name '%2e%2e' is not",
        "Set a name",
    ),
    "table absolute": (
        ("raw_stockprices_yfinance", "/etc/x"),
        "34  sources.yfinance",
        "the name '/etc/x' is not",
        "Set a name",
    ),
    "table NUL": (
        ("raw_stockprices_yfinance", '"a\\0b"'),
        "34  sources.yfinance",
        "the name 'a\\x00b' is not",
        "Set a name",
    ),
    "table long": (
        ("raw_stockprices_yfinance", "a" * 300),
        "34  sources.yfinance",
        "the name 'aaaa",
        "at most 63 characters",
    ),
    "table upper": (("raw_stockprices_yfinance", "CON"), "34  sources.yfinance", "the name 'CON' is not", "Set a name"),
    "source name": (
        ("  coingecko:\n", '  "../x":\n'),
        "17  sources.../x",
        "the name '../x' is not allowed here",
        "Set a name",
    ),
    "symbol NUL": (
        ("add: [ARM]", 'add: ["A\\0"]'),
        "5  assets.stocks.add[0]",
        "the asset symbol name 'A\\x00' has control characters",
        "Set the symbol as the market writes it",
    ),
    "symbol long": (
        ("add: [ARM]", f"add: [{'A' * 65}]"),
        "5  assets.stocks.add[0]",
        "more than 64 characters",
        "Set the symbol",
    ),
    "symbol twice": (
        ("add: [ARM]", "add: [ARM, ARM]"),
        "5  assets.stocks.add[1]",
        "the asset 'ARM' stands twice in this list: a duplicate",
        "Fix it: remove one of the two.",
    ),
    "inline key": (
        ("[ARM]", "[{symbol: X, nmae: y}]"),
        "5  assets.stocks.add[0].nmae",
        "unknown key 'nmae'",
        "Did you mean 'name'?",
    ),
    "inline type": (
        ("where: {asset_type: stock}, add", "top: 1, add"),
        "5  assets.stocks.add[0]",
        "the type of the asset 'ARM' is not known",
        "Set `asset_type: crypto` or stock on the list.",
    ),
    "not carried": (
        ("[ARM]", "[{symbol: Q, yfinance: ''}]"),
        "5  assets.stocks.add[0]",
        "no source that a pipeline extracts carries the asset 'Q' of list 'stocks'",
        "Set its symbol at one of the sources",
    ),
    "empty list": (
        ("asset_type: stock}, add: [ARM]", "asset_type: stoc}"),
        "5  assets.stocks",
        "the asset list 'stocks' is empty",
        "Set `file:` (check `where:`)",
    ),
    "no file": (
        ("stocks: {file: assets.csv", "stocks: {file: asets.csv"),
        "5  assets.stocks.file",
        "the assets file 'asets.csv' cannot be read: No such file",
        "Check the path",
    ),
    "no column": (
        ("where: {asset_type: stock}", "where: {asset_typ: stock}"),
        "5  assets.stocks.where.asset_typ",
        "unknown column 'asset_typ'",
        "Did you mean 'asset_type'?",
    ),
    "one place": (
        ("path: .data/warehouse", "path: ./.data//x/../lake"),
        "10  profiles.local.warehouse.path",
        "the lake of profile 'local' is at the same path: one would overwrite the other",
        "Set a path of its own.",
    ),
    "one place in another profile": (
        (
            "timeseries: {type: duckdb, path: t.duckdb}",
            "timeseries: {type: duckdb, path: w}\n    w: {type: ducklake, path: w/}",
        ),
        "15  profiles.cloud.w.path",
        "destination 'timeseries' of profile 'cloud' is at the same path",
        "Set a path of its own.",
    ),
    "models elsewhere": (
        ("extract: [yfinance.stocks]\n", "extract: [yfinance.stocks]\n    transform: {on: [timeseries]}\n"),
        "44  pipelines.prices-stock-pipeline.transform.on[0]",
        "this pipeline does not load into 'timeseries', so no models run there",
        "Add it to `load`, or set one of: warehouse.",
    ),
    "models nowhere": (
        ("extract: [yfinance.stocks]\n    load: [warehouse]\n", "extract: [yfinance.stocks]\n    transform: {}\n"),
        "44  pipelines.prices-stock-pipeline.transform",
        "models run where data is loaded, and this pipeline loads nothing",
        "Add `load:` with one of: timeseries, warehouse; or set `transform: false`.",
    ),
    "models of an empty load": (
        (
            "extract: [yfinance.stocks]\n    load: [warehouse]\n",
            "extract: [yfinance.stocks]\n    load: []\n    transform: {select: tag:prices, on: [warehouse]}\n",
        ),
        "45  pipelines.prices-stock-pipeline.transform",
        "models run where data is loaded, and this pipeline loads nothing",
        "set `transform: false`",
    ),
    "half a variable": (
        ("https://api.coingecko.com", "${HOST"),
        "20  sources.coingecko.client.base_url",
        "this ${ does not start a variable",
        "Set ${NAME} or ${NAME:-default}",
    ),
    "empty extract": (
        ("[yfinance.stocks]", "[]"),
        "43  pipelines.prices-stock-pipeline.extract",
        "at least 1 item",
        "Set a value",
    ),
    "top of zero": (
        ("top: 3", "top: 0"),
        "4  assets.crypto.top",
        "greater than or equal to 1",
        "Set a value that fits.",
    ),
    "section missing": (
        ("pipelines:\n  prices-crypto", "pipeline:\n  prices-crypto"),
        "36  pipeline",
        "unknown key 'pipeline'",
        "Did you mean 'pipelines'?",
    ),
    "a list where a block belongs": (
        ("    lake: {type: filesystem, path: .data/lake}", "    lake: [x]"),
        "9  profiles.local.lake",
        "wrong type: expected a mapping (key: value), found a list",
        "Set a mapping",
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_place_reason_and_remedy(case: str, refused: Refused) -> None:
    edit, place, reason, remedy = LINES[case]
    said = refused(edit)
    lines = said.splitlines()
    assert lines[0].startswith(f"pipelines.yaml:{place}")
    caret = next(index for index, line in enumerate(lines) if set(line.split("|")[-1].strip()) == {"^"})
    assert lines[caret - 1].lstrip(" >").startswith(place.split()[0])
    assert reason in said
    assert remedy in said
    assert said.endswith(END)
    assert all(char.isprintable() for char in said.replace("\n", ""))


def test_the_caret_stands_under_the_culprit(refused: Refused) -> None:
    lines = refused(("type: ducklake", "type: duckleak")).splitlines()
    at = next(index for index, line in enumerate(lines) if "^" in line)
    start = lines[at].index("^")
    assert lines[at - 1][start : start + lines[at].count("^")] == "duckleak"


def test_unknown_profile(refused: Refused) -> None:
    said = refused(profile="clout")
    assert said.startswith("pipelines.yaml:7  profiles\n")
    assert (
        "unknown profile 'clout'\n  Did you mean 'cloud'? Set --profile or ENGINE_PROFILE to one of: cloud, local."
        in said
    )
    assert "unknown profile 'prod'" in refused(env={"ENGINE_PROFILE": "prod"})


def test_many_problems_stay_within_forty_lines(refused: Refused) -> None:
    wrong = ", ".join(f"key{number}: 1" for number in range(20))
    said = refused(("top: 3", wrong))
    assert said.count("unknown key") == 5
    assert "... and 15 more problems." in said


def test_a_misspelt_key_is_one_problem(refused: Refused) -> None:
    said = refused(("{type: s3, bucket:", "{type: s3, buckt:"))
    assert "unknown key 'buckt'\n  Did you mean 'bucket'?" in said
    assert "missing" not in said


def test_a_missing_variable_is_one_problem(refused: Refused) -> None:
    said = refused(('"0 20 * * *"', '"${CRON}"'))
    assert said.count("pipelines.yaml:38") == 1
    assert "the environment variable CRON is not set" in said


@pytest.mark.parametrize("secret", ["s3cr3t-value", "AKIA/+=="])
def test_no_secret_in_an_error(secret: str, refused: Refused) -> None:
    edits = (("${COINGECKO_API_KEY:-}", "${KEY}"), ("raw_stockprices_yfinance", '"${KEY}"'))
    said = refused(*edits, env={"KEY": secret})
    assert "is not allowed here" in said
    assert secret not in said
    assert "${KEY}" in said


def test_other_profiles_are_checked_without_their_variables(edited: Callable[..., Project], refused: Refused) -> None:
    assert edited().profile_name == "local"
    assert "profiles.cloud.warehouse.pth" in refused(('{type: duckdb, path: "${CLOUD', '{type: duckdb, pth: "${CLOUD'))


def test_the_active_profile_needs_its_variables(edited: Callable[..., Project], refused: Refused) -> None:
    env: Mapping[str, str] = {"S3_ACCESS_KEY": "access", "S3_SECRET_KEY": "hidden", "CLOUD_PATH": "bucket"}
    project = edited(profile="cloud", env=env)
    assert project.destinations["warehouse"].path == "bucket/w.duckdb"
    assert project.secrets == {"access", "hidden", "bucket"}
    said = refused(profile="cloud", env={**env, "S3_SECRET_KEY": ""})
    assert "pipelines.yaml:12  profiles.cloud.lake.secret_key" in said
    assert "the environment variable S3_SECRET_KEY is not set" in said


@pytest.mark.parametrize(
    ("key", "block"), [("dta", ".data/x"), ("lakee", "{type: filesystem, path: x}"), ("markt", "live")]
)
def test_a_misspelt_key_of_a_profile(key: str, block: str, refused: Refused) -> None:
    said = refused(("  local:\n", f"  local:\n    {key}: {block}\n"))
    assert said.startswith(f"pipelines.yaml:9  profiles.local.{key}\n")
    assert f"unknown key {key!r}\n  Did you mean " in said


def test_a_secret_that_stands_in_the_file_is_covered(refused: Refused) -> None:
    said = refused(('key: "${COINGECKO_API_KEY:-}"', "key: abc-123-def"), ("per_month: 10000", "per_mnth: 10000"))
    assert "header: x-cg-demo-api-key, key: ***********}" in said
    assert "abc-123-def" not in said
    said = refused(
        ("base_url: https://api", "base_url: https://me:pass-word@api"), ("api_key, header", "api_key, heder")
    )
    assert "https://me:*********@api.coingecko.com" in said


def test_a_quota_that_is_nearly_used_up_is_a_note(edited: Callable[..., Project]) -> None:
    note = edited(("per_month: 10000", "per_month: 31")).notes[-1]
    assert note.startswith("pipelines.yaml:38  coingecko: 30 calls a month; the plan allows 31: 97% of it")


def test_a_mistake_inside_one_of_two_forms(refused: Refused) -> None:
    said = refused(("    load: [warehouse]\n", "    load: [warehouse]\n    transform: {slect: x}\n"))
    assert said.startswith("pipelines.yaml:45  pipelines.prices-stock-pipeline.transform.slect\n")
    assert said.count("pipelines.yaml:") == 1
    said = refused(("    load: [warehouse]\n", "    load: [warehouse]\n    transform: sometimes\n"))
    assert "wrong type: expected a mapping (key: value) or true or false, found text" in said


@pytest.mark.parametrize(
    "words", ["", "    load: []\n", "    transform: false\n", "    load: []\n    transform: false\n"]
)
def test_a_pipeline_may_land_only(edited: Callable[..., Project], words: str) -> None:
    project = edited(("extract: [yfinance.stocks]\n    load: [warehouse]\n", f"extract: [yfinance.stocks]\n{words}"))
    assert project.file.pipelines["prices-stock-pipeline"].load == []


def test_models_on_a_destination_that_is_no_warehouse(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("destinations.settings.DuckdbSettings.runs_models", False)
    said = refused(
        ("load: [warehouse, timeseries]\n", "load: [warehouse, timeseries]\n    transform: {on: [timeseries]}\n")
    )
    assert said.startswith("pipelines.yaml:41  pipelines.prices-crypto-pipeline.transform.on[0]")
    assert "'timeseries' is no warehouse (profile cloud: type duckdb): no models run there" in said
    assert "Set one of: warehouse." in said


def test_a_port_is_shown_and_a_password_in_an_address_is_not(refused: Callable[..., str]) -> None:
    shown = refused(("https://api.coingecko.com/api/v3", "http://127.0.0.1:8080/v3"))
    assert "base_url: http://127.0.0.1:8080/v3" in shown
    hidden = refused(("https://api.coingecko.com/api/v3", "http://me:hunter2@127.0.0.1:8080/v3"))
    assert "hunter2" not in hidden
    assert "http://me:*******@127.0.0.1:8080/v3" in hidden
