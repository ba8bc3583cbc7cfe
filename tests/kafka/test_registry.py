"""The stand-in schema registry: ids and versions as a client expects them, and failures on demand."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kafka.registry import SchemaRegistry

PRICE = '{"type": "record", "name": "Price", "fields": [{"name": "price", "type": "string"}]}'
WIDER = PRICE.replace('"string"', '["null", "string"]')


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        yield running


def ask(registry: SchemaRegistry, path: str, body: object = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(registry.url + path, data)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_schema_has_one_id_and_versions_count_within_a_subject(registry: SchemaRegistry) -> None:
    assert ask(registry, "/subjects/prices-value/versions", {"schema": PRICE}) == (200, {"id": 1})
    assert ask(registry, "/subjects/other/versions", {"schema": WIDER}) == (200, {"id": 2})
    assert ask(registry, "/subjects/prices-value/versions", {"schema": WIDER, "schemaType": "AVRO"}) == (200, {"id": 2})
    assert ask(registry, "/subjects/prices-value/versions", {"schema": PRICE}) == (200, {"id": 1})
    assert ask(registry, "/schemas/ids/1?subject=prices-value") == (200, {"schema": PRICE})
    latest = {"subject": "prices-value", "version": 2, "id": 2, "schema": WIDER}
    assert ask(registry, "/subjects/prices-value/versions/latest") == (200, latest)
    first = {"subject": "prices-value", "version": 1, "id": 1, "schema": PRICE}
    assert ask(registry, "/subjects/prices-value/versions/1") == (200, first)
    assert ask(registry, "/subjects/prices-value/versions/3")[0] == 404


def test_another_type_is_said_and_a_subject_may_hold_a_slash(registry: SchemaRegistry) -> None:
    schema = {"schema": '{"type": "object"}', "schemaType": "JSON"}
    assert ask(registry, "/subjects/a%2Fb%20c/versions", schema) == (200, {"id": 1})
    assert ask(registry, "/schemas/ids/1") == (200, schema)
    latest = {"subject": "a/b c", "version": 1, "id": 1, **schema}
    assert ask(registry, "/subjects/a%2Fb%20c/versions/latest") == (200, latest)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/schemas/ids/7", None, 404, 40403),
        ("/schemas/ids/x", None, 404, 40403),
        ("/subjects/nobody/versions/latest", None, 404, 40401),
        ("/subjects/nobody/versions", {"schema": ""}, 422, 42201),
        ("/subjects/nobody/versions/1", None, 404, 40401),
        ("/elsewhere", None, 404, 404),
    ],
)
def test_what_is_not_there_is_said_in_its_codes(
    registry: SchemaRegistry, path: str, body: object, status: int, code: int
) -> None:
    answered, error = ask(registry, path, body)
    assert (answered, error["error_code"]) == (status, code)


def test_it_fails_and_refuses_on_demand_and_keeps_its_schemas(registry: SchemaRegistry) -> None:
    ask(registry, "/subjects/s/versions", {"schema": PRICE})
    with registry.failing():
        assert ask(registry, "/schemas/ids/1")[0] == 503
    with registry.refusing(), pytest.raises(urllib.error.URLError, match="refused"):
        ask(registry, "/schemas/ids/1")
    assert ask(registry, "/schemas/ids/1") == (200, {"schema": PRICE})
    assert registry.asked == ["POST /subjects/s/versions", *["GET /schemas/ids/1"] * 2]
