from engine.plan.plan import difference

STOPS = " (once rows have landed, its table stops until the type is back: land the column under another name)"


def test_equal_plans_have_no_difference():
    assert difference({"a": [1], "next_run": "x"}, {"a": [1], "next_run": "y"}) == []


def test_added_removed_and_changed_values_are_one_line_each():
    before = {"assets": {"crypto": {"symbols": ["BTC", "ETH"]}}, "tables": {"t": {"price": "decimal"}}, "gone": 1}
    after = {"assets": {"crypto": {"symbols": ["BTC", "PEPE"]}}, "tables": {"t": {"price": "text", "new": "bool"}}}
    assert difference(before, after) == [
        "- assets.crypto.symbols: ETH",
        "+ assets.crypto.symbols: PEPE",
        "~ tables.t.price: decimal -> text" + STOPS,
        "+ tables.t.new",
        "- gone",
    ]


def test_calls_are_matched_by_source():
    before = [{"source": "binance", "calls_per_month": 30}]
    after = [{"source": "coingecko", "calls_per_month": 1}, {"source": "binance", "calls_per_month": 60}]
    assert difference(before, after, "calls") == ["~ calls.binance.calls_per_month: 30 -> 60", "+ calls.coingecko"]


def test_no_value_is_written_as_python_does():
    before = {"schedule": None, "on": True, "lists": [["a", "b"]], "block": [{"a": 1, "b": None}]}
    after = {"schedule": "0 * * * *", "on": False, "lists": [], "block": [], "missing": ["X", "Y"], "tables": {"t": {}}}
    assert difference(before, after) == [
        "~ schedule: none -> 0 * * * *",
        "~ on: true -> false",
        "- lists: a, b",
        "- block: a 1, b none",
        "+ missing: X",
        "+ missing: Y",
        "+ tables",
    ]
