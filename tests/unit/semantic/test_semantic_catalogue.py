"""The semantic catalogue: what it refuses to say, and that the one that ships is sound."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from engine.cli import cli
from engine.errors import UsageError
from engine.models.semantic import Catalogue, SemanticTable, columns_of, differences, load_catalogue, problems, quoted
from engine.models.transform import fingerprint

FOLDER = Path(__file__).parents[3] / "transforms" / "semantic"
AMOUNT = {
    "label": "Amount",
    "description": "d",
    "aggregation": "sum",
    "expression": "amount",
    "unit": "USD",
    "format": "money",
}
RATIO = {**AMOUNT, "aggregation": "ratio", "expression": None, "denominator": "amount_sold", "unit": "percent"}
SALES: dict[str, Any] = {
    "table": "marts.sales",
    "label": "Sales",
    "description": "d",
    "grain": ["sale"],
    "time": {"column": "sold_at", "type": "timestamp"},
    "units": {"amount": "USD", "fee": "USD", "weight": ["asset"], "euros": "EUR"},
    "measures": {"amount_sold": AMOUNT},
    "dimensions": {
        "asset": {"type": "text", "label": "Asset", "values": "distinct", "synonyms": ["ticker"]},
        "mail": {"type": "text", "label": "Mail", "values": "many", "personal": True},
    },
}


def sales(measures: dict[str, Any] | None = None, **changes: Any) -> SemanticTable:
    return SemanticTable.model_validate({**SALES, "measures": {**SALES["measures"], **(measures or {})}, **changes})


def told(*tables: SemanticTable) -> str:
    return "; ".join(problems(Catalogue(tables=list(tables))))


def test_the_catalogue_of_the_project_is_sound_and_quick_to_load() -> None:
    started = time.process_time()
    catalogue = load_catalogue(FOLDER)
    assert time.process_time() - started < 1
    assert problems(catalogue) == []
    assert {table.table for table in catalogue.tables} == {
        "semantic.semantic_transactions",
        "semantic.semantic_customer_overview",
        "semantic.semantic_asset_performance",
        "marts.fct_asset_candles",
    }
    assert catalogue.table("semantic.semantic_customer_overview").personal == ["customer_name", "email_addr"]
    assert sum(len(table.personal) for table in catalogue.tables) == 2


def test_a_sound_table_has_no_problems() -> None:
    table = sales({"rate": {**RATIO, "numerator": "amount_sold"}})
    assert told(table) == ""
    assert table.sql("amount_sold") == 'sum("amount")'
    assert table.sql("rate") == '100.0 * sum("amount") / nullif(sum("amount"), 0)'
    assert table.measures["amount_sold"].additive
    assert not table.measures["rate"].additive
    assert sales({"last": {**AMOUNT, "aggregation": "last"}}).sql("last") == 'arg_max("amount", "sold_at")'


@pytest.mark.parametrize(
    ("measure", "problem"),
    [
        ({"expression": "amount + euros"}, "euros in EUR"),
        ({"expression": "weight", "unit": ["asset"]}, "adds up different units: `within` lacks asset"),
        ({"expression": "weight", "unit": ["asset"], "aggregation": "mean"}, "adds up different units"),
        ({"expression": "weight"}, "is in USD, weight in ['asset']"),
        ({"expression": "nothing"}, "nothing has no unit"),
        ({"expression": None}, "everything else has one"),
        ({"aggregation": "count"}, "count has no expression"),
        ({"expression": "sum(amount); drop"}, "more than columns"),
        ({"within": ["nowhere"]}, "within nowhere, which is no dimension"),
        ({**RATIO, "numerator": "x"}, "x is no measure"),
        ({"synonyms": ["Ticker"]}, "and dimension asset"),
        ({"synonyms": ["amount_sold"]}, "'amount_sold' means measure"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_told(measure: dict[str, Any], problem: str) -> None:
    assert problem in told(sales({"odd": {**AMOUNT, **measure}}))


def test_a_percentage_needs_one_unit() -> None:
    euros = {**AMOUNT, "expression": "euros", "unit": "EUR"}
    share = {**RATIO, "numerator": "euros"}
    assert "a percentage of EUR in USD" in told(sales({"euros": euros, "share": share}))


def test_tables_share_dimensions_but_no_other_words() -> None:
    other = {**SALES, "table": "marts.gifts", "measures": {"gifts": {**AMOUNT, "synonyms": ["presents"]}}}
    assert told(sales(), SemanticTable.model_validate(other)) == ""
    named = SemanticTable.model_validate({**other, "synonyms": ["amount_sold"]})
    assert "'amount_sold' means" in told(sales(), named)
    asset = {"type": "integer", "label": "Asset", "values": "distinct", "synonyms": ["ticker"]}
    differs = SemanticTable.model_validate({**other, "dimensions": {"asset": asset}})
    assert "dimension asset of marts.gifts differs" in told(sales(), differs)


def test_a_default_filter_is_of_a_dimension() -> None:
    assert "currency is no dimension" in told(sales(default_filters=[{"dimension": "currency", "values": ["USD"]}]))


def test_columns_that_are_missing_or_of_another_type_are_told() -> None:
    catalogue = Catalogue(tables=[sales()])
    whole = {
        "sale": "VARCHAR", "asset": "VARCHAR", "mail": "VARCHAR", "sold_at": "TIMESTAMP WITH TIME ZONE",
        "amount": "DECIMAL(38,18)", "fee": "DECIMAL(38,18)", "weight": "DECIMAL(38,18)", "euros": "DECIMAL(38,18)",
    }  # fmt: skip
    assert differences(catalogue, {"marts.sales": whole}) == []
    for column in whole:
        less = {name: kind for name, kind in whole.items() if name != column}
        assert differences(catalogue, {"marts.sales": less}) == [f"marts.sales has no column {column}"]
    assert "asset is BIGINT, not text" in differences(catalogue, {"marts.sales": {**whole, "asset": "BIGINT"}})[0]
    assert "amount is VARCHAR" in differences(catalogue, {"marts.sales": {**whole, "amount": "VARCHAR"}})[0]
    assert "sold_at is DATE" in differences(catalogue, {"marts.sales": {**whole, "sold_at": "DATE"}})[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (yaml.safe_dump({**SALES, "measures": {}}), "measures: Value error, has none"),
        (yaml.safe_dump({**SALES, "mesures": {}}), "mesures: Extra inputs are not permitted"),
        ("", "Input should be a valid dictionary"),
        ("- 1", "Input should be a valid dictionary"),
        ("a: \x00", "special characters are not allowed"),
        (yaml.safe_dump({**SALES, "measures": {"a": {**AMOUNT, "aggregation": "median"}}}), "measures.a.aggregation"),
        ("table: [", "is no YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "sales.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_catalogue(tmp_path)
    assert "sales.yaml" in caught.value.reason
    assert reason in caught.value.reason
    assert re.match(r"transforms/semantic/sales\.yaml:\d+: ", caught.value.reason)
    assert "<unicode string>" not in str(caught.value)
    assert "\n" not in caught.value.reason
    assert "transforms/semantic/sales.yaml" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("table: a\nlabel: [\nb: }\n", 3),
        ("table: a\nlabel: b\ngrain:\n  - 1\n", 1),
        ("table: a\nmeasures:\n  one:\n    label: x\n    aggregation: median\n", 1),
        (yaml.safe_dump(SALES) + "mesures: {}\n", yaml.safe_dump(SALES).count("\n") + 1),
    ],
)
def test_the_line_of_a_mistake_is_named(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "sales.yaml").write_text(text)
    with pytest.raises(UsageError, match=rf"^transforms/semantic/sales\.yaml:{line}: "):
        load_catalogue(tmp_path)


def test_a_plan_checks_the_catalogue_and_validate_does_not(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "transforms" / "semantic").mkdir(parents=True)
    file = tmp_path / "pipelines.yaml"
    file.write_text(
        "profiles: {local: {lake: {type: filesystem, path: .data/lake}}}\n"
        'sources: {first: {type: files, path: first, resources: {raw_first: {files: "*.csv"}}}}\n'
        "pipelines: {one: {extract: [first]}}\n"
    )
    for text, said in (
        ("table: [", "transforms/semantic/sales.yaml:1: is no YAML: "),
        (yaml.safe_dump({**SALES, "units": {}}), "semantic catalogue: marts.sales: amount_sold: amount has no unit"),
    ):
        (tmp_path / "transforms" / "semantic" / "sales.yaml").write_text(text)
        ended = CliRunner().invoke(cli, ["plan", "-f", str(file)])
        assert isinstance(ended.exception, UsageError), ended.output
        assert said in ended.exception.reason
        assert CliRunner().invoke(cli, ["validate", "-f", str(file)]).exit_code == 0


def test_words_for_the_tables_do_not_make_the_models_anew(tmp_path: Path) -> None:
    model = tmp_path / "models" / "a.sql"
    words = tmp_path / "semantic" / "sales.yaml"
    for path in (model, words):
        path.parent.mkdir()
        path.write_text("a")
    before = fingerprint(tmp_path)
    words.write_text("b")
    assert fingerprint(tmp_path) == before
    model.write_text("b")
    assert fingerprint(tmp_path) != before


def test_expressions_name_columns() -> None:
    assert columns_of("amount - 2 * (fee + amount)") == ["amount", "fee"]
    assert quoted("amount - 2*fee") == '"amount" - 2*"fee"'


@pytest.mark.parametrize(
    ("text", "ok", "detail"),
    [
        (yaml.safe_dump(SALES), True, "1 measures over 1 tables"),
        (yaml.safe_dump({**SALES, "units": {}}), False, "amount has no unit"),
        ("table: [", False, "is no YAML"),
    ],
)
def test_doctor_looks_at_the_catalogue(tmp_path: Path, text: str, *, ok: bool, detail: str) -> None:
    from engine.doctor import _catalogue

    folder = tmp_path / "transforms" / "semantic"
    folder.mkdir(parents=True)
    (folder / "sales.yaml").write_text(text)
    project: Any = SimpleNamespace(project_dir=tmp_path, warehouses={})
    [finding] = _catalogue(project)
    assert (finding.what, finding.ok) == ("semantic catalogue", ok)
    assert detail in finding.detail
    assert finding.remedy


def test_customers_of_every_type_are_counted_and_can_be_told_apart() -> None:
    customers = load_catalogue(FOLDER).table("semantic.semantic_customer_overview")
    assert customers.dimensions["customer_type"].values == ["personal", "corporate", "unknown"]
    assert customers.default_filters == []  # so the two are of every type, as they say
    for name in ("customer_count", "average_customer_amount"):
        assert "of every type" in customers.measures[name].description, name
        assert "customer_type" in customers.measures[name].description, name
    assert customers.measures["total_transactions"].aggregation == "sum"
    assert "per customer" not in customers.measures["total_transactions"].label
