"""What becomes of an answer's fields, and of answers that changed."""

from __future__ import annotations

import pytest

from engine.errors import SourceError


def one(api, extract, block, row, **words):
    api.answer = lambda _path, _query: [row]
    return extract(block(words))


def test_other_fields_stand_beside_the_declared_ones(api, extract, block):
    row = {"lastPrice": "1.50", "someThing": None, "Nested": {"a": [1]}, "_load_id": 5, "24h": True}
    run = one(api, extract, block, row, columns={"price": {"from": "lastPrice", "type": "decimal"}})
    assert run.rows == [{"price": "1.50", "some_thing": None, "nested": {"a": [1]}, "payload_load_id": 5, "_24h": True}]


def test_two_fields_that_become_one_column_keep_their_names(api, extract, block):
    run = one(api, extract, block, {"openTime": 1, "open_time": 2, "x": 3})
    assert run.rows == [{"openTime": 1, "open_time": 2, "x": 3}]


def test_a_field_whose_name_a_column_has_taken_is_kept_aside(api, extract, block):
    row = {"lastPrice": "2", "price": "1", "Price": "0"}
    run = one(
        api, extract, block, {k: row[k] for k in ("lastPrice", "price")}, columns={"price": {"from": "lastPrice"}}
    )
    assert run.rows == [{"price": "2", "price_raw": "1"}]


def test_paths_constants_folds_and_nulls(api, extract, block):
    columns = {
        "deep": {"from": "a.b.c"},
        "dotted": {"from": "x.y"},
        "upper": {"from": "text", "fold": "upper"},
        "constant": {"value": 7, "type": "bigint"},
        "default": {"from": "empty", "value": "none"},
        "price": {"from": "p", "type": "decimal", "null_when": {"state": "HALTED"}},
        "flag": {"from": "p", "null_when": {"on": True}},
    }
    row = {"a": {"b": {"c": 1}}, "x.y": 2, "text": "straße", "empty": None, "p": "1", "state": "HALTED", "on": 1}
    (shaped,) = one(api, extract, block, row, columns=columns).rows
    assert {name: shaped[name] for name in columns} == {
        "deep": 1,
        "dotted": 2,
        "upper": "STRAßE",
        "constant": 7,
        "default": "none",
        "price": None,
        "flag": "1",
    }


def test_undeclared_numbers_can_land_as_text_exact_as_sent(api, extract, block):
    body = b'[{"a": 1, "b": -1.75424014004685E-7, "c": true, "d": NaN, "e": 18446744073709551616, "f": [1]}]'
    api.answer = lambda _path, _query: body
    (row,) = extract(block({"numbers": "text"})).rows
    assert row == {"a": "1", "b": "-1.75424014004685E-7", "c": True, "d": "NaN", "e": str(2**64), "f": [1]}


def test_a_renamed_field_is_said_once_and_the_rest_arrives(api, extract, block):
    api.answer = lambda _path, query: [{"id": 1, "lastPx": "3"}] if int(query["page"]) < 3 else []
    columns = {"id": {"type": "bigint"}, "price": {"from": "lastPrice"}, "extra": {"optional": True}}
    run = extract(block({"columns": columns, "paginate": {"type": "page_number"}}))
    assert run.rows[0] == {"id": 1, "price": None, "extra": None, "last_px": "3"}
    assert run.notices == [(None, "the field 'lastPrice' (column price) is in none of 1 rows: has the API renamed it?")]


def test_a_row_that_is_no_object_is_left_to_the_typing_step(api, extract, block):
    api.answer = lambda _path, _query: [{"id": 1}, None, "text", 5]
    run = extract(block())
    assert run.rows == [{"id": 1}, {"unexpected": None}, {"unexpected": "text"}, {"unexpected": 5}]


def test_odd_text_arrives_as_sent(api, extract, block):
    api.answer = lambda _path, _query: b'[{"t": "\\u0000\\ud800\\ud83d\\udc0b\\u202e"}]'
    assert extract(block()).rows == [{"t": "\0\ud800\U0001f40b\u202e"}]


def test_rows_that_are_arrays_and_short_ones(api, extract, block):
    api.answer = lambda _path, _query: [[1, "2", "x"], [1]]
    columns = {"at": {"from": 0, "type": "bigint"}, "price": {"from": 1}}
    run = extract(block({"rows": "arrays", "columns": columns}))
    assert run.rows == [{"at": 1, "price": "2", "field_2": "x"}, {"at": 1, "price": None}]


def test_one_object_can_be_the_row(api, extract, block):
    api.answer = lambda _path, _query: {"data": {"id": 1}}
    assert extract(block({"rows": "object", "select": "data"})).rows == [{"id": 1}]


@pytest.mark.parametrize(
    ("body", "words", "said"),
    [
        ({"error": "x"}, {}, 'is an object where a list of rows is expected: {"error": "x"}'),
        ({"error": "x"}, {"select": "data"}, "has nothing at data"),
        ({"data": None}, {"select": "data"}, "is null where a list of rows is expected"),
        ("text", {}, "is text where a list of rows is expected"),
        (b"<html>", {}, "an HTML page where JSON was expected: <html>"),
        (b"", {}, "an empty body"),
        (b'[{"a": 1', {}, "broken off"),
    ],
)
def test_no_rows_with_status_200_is_one_clear_error(api, extract, block, body, words, said):
    api.answer = lambda _path, _query: body
    with pytest.raises(SourceError) as caught:
        extract(block(words))
    assert said in caught.value.reason
    assert "probe: " in caught.value.reason
    assert "answered 200" in caught.value.reason


def test_rules_for_answers(api, extract, block):
    rules = [
        {"when": {"http": 404}, "action": "skip", "message": "nothing there"},
        {"when": {"body": {"meta.ok": False}}, "action": "fail", "message": "the API says no", "remedy": "Ask later."},
    ]
    api.answer = lambda _path, _query: (404, {}, b"")
    assert extract(block({"errors": rules})).notices == [(None, "nothing there")]
    api.answer = lambda _path, _query: {"meta": {"ok": False, "why": "tired"}}
    with pytest.raises(SourceError, match=r"the API says no .*tired") as caught:
        extract(block({"errors": rules}))
    assert (caught.value.terminal, caught.value.remedy) == (False, "Ask later.")


def test_keys_travel_in_header_or_query_and_empty_ones_do_not(api, extract, block):
    for auth in (
        {"type": "api_key", "query": "apikey", "key": "k1+/"},
        {"type": "api_key", "query": "apikey", "key": ""},
    ):
        extract(block({"params": {"a": True}}, auth=auth))
    assert [query for _, query in api.seen] == [{"a": "true", "apikey": "k1+/"}, {"a": "true"}]
