"""What a REST block may say, and how it is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from engine.errors import UsageError
from sources.columns import ColumnSettings
from sources.protocol import Asset
from sources.rest.settings import RestSource
from sources.rest.templates import Values, fill, placeholders

CLIENT = {"base_url": "https://api.example.org/v1"}


def source(resource=None, **client) -> RestSource:
    block = {
        "type": "rest",
        "client": {**CLIENT, **client},
        "resources": {"raw_rows": {"path": "rows", **(resource or {})}},
    }
    return RestSource.model_validate(block)


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ({"params": {"a": "{assets.crypto}"}}, "there is no placeholder {assets.crypto}"),
        ({"params": {"a": "{cursr|ms}"}}, "there is no placeholder {cursr}"),
        ({"params": {"a": "{cursor|json}"}}, r"{cursor} cannot be written as \|json"),
        ({"path": "rows/{each}"}, "the resource has no `each:`"),
        ({"each": "crypto.binance"}, "names no assets"),
        ({"each": "assets.a.b", "batch": 5}, "exclude each other"),
        ({"batch": 5}, "`batch` needs the assets"),
        ({"params": {"a": "{assets.a.b}", "b": "{assets.a.c}"}}, "two asset lists"),
        ({"primary_key": ["id"]}, "the column 'id' is not declared"),
        ({"incremental": {"column": "at"}}, "the column 'at' is not declared"),
        ({"backfill": "7d"}, "`backfill` needs a window"),
        ({"backfill": "a week"}, "is no duration"),
        ({"columns": {"a": {"type": "text", "timezone": "UTC"}}}, "belong to a timestamp"),
        ({"columns": {"a": {"type": "timestamp", "timezone": "Mars/Base"}}}, "is not a time zone"),
        ({"columns": {"a": {"type": "decimal", "fold": "upper"}}}, "fold belongs to text"),
        ({"columns": {"a": {"type": "float"}}}, "Input should be 'text'"),
        ({"errors": [{"when": {}, "action": "skip", "message": "x"}]}, "this condition is empty"),
        ({"pathh": "x"}, "Extra inputs are not permitted"),
        (
            {"paginate": {"type": "page_number"}, "incremental": {"column": "a", "full_page": 9}, "columns": {"a": {}}},
            "exclude each other",
        ),
    ],
)
def test_a_resource_that_cannot_work_is_refused(resource, words):
    with pytest.raises(ValidationError, match=words):
        source(resource)


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ({"base_url": "file:///etc/passwd"}, "not an address of the web"),
        ({"base_url": "gopher://example.org"}, "not an address of the web"),
        ({"base_url": "https://u:p@example.org"}, "Credentials go into `auth:`"),
        ({"base_url": "https://example.org?key=1"}, "more than host and path"),
        ({"base_url": "http://169.254.169.254/x"}, "not an address of the internet"),
        ({"base_url": "http://[::1]/x"}, "not an address of the internet"),
        ({"base_url": "http://localhost/x"}, "not an address of the internet"),
        ({"base_url": "http://[::1"}, "is not an address"),
        ({"auth": {"type": "api_key", "key": "k"}}, "into a header or into the query"),
        ({"auth": {"type": "bearer", "token": "secret-one\nX: y"}}, "no HTTP header may hold"),
        ({"limits": {"per_minute": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_client_that_cannot_work_is_refused(client, words):
    with pytest.raises(ValidationError, match=words) as caught:
        source(**client)
    assert "secret-one" not in str(caught.value)


def test_secrets_are_not_printed_with_the_settings():
    found = source(auth={"type": "bearer", "token": "canary-token"}, headers={"X": "canary-header"})
    assert "canary" not in repr(found) + str(found.model_dump()) + found.model_dump_json()
    assert found.client.credentials().headers == {"X": "canary-header", "Authorization": "Bearer canary-token"}


def test_an_asset_list_that_does_not_exist():
    with pytest.raises(UsageError, match=r"sources\.s\.resources\.raw_rows: there is no asset list 'cryto'"):
        source({"each": "assets.cryto.binance"}).resources_of("s", {"crypto": []})


def test_assets_without_a_symbol_here_are_not_asked_for_and_a_symbol_is_asked_for_once():
    assets = {
        "c": [Asset(name, "crypto", symbols={"x": symbol}) for name, symbol in [("A", "a"), ("B", ""), ("C", "a")]]
    }
    (resource,) = source({"each": "assets.c.x"}).resources_of("s", assets)
    assert resource.calls is not None
    assert resource.calls.calls == 1


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{assets.c.x}", "A,B&"),
        ("{assets.c.x|json}", '["A","B&"]'),
        ("{assets.c.x|plus}", "A+B%26"),
        ("{each|lower}-{interval}", "btc-1h"),
        ("{cursor|ms}", "1500"),
        ("{cursor|s}", "1"),
        ("{cursor|us}", "1500000"),
        ("{cursor|iso}", "1970-01-01T00:00:01.500000Z"),
        ("{window.start|date}", "1970-01-02"),
        ("{window.end|ms}", None),
        ("{{plain}}", "{plain}"),
    ],
)
def test_placeholders(text, filled):
    values = Values(["A", "B&"], "BTC", {"interval": "1h"}, 1_500_000, True, 86_400_000_000)
    assert placeholders(text, ["interval"]) or text == "{{plain}}"
    assert fill(text, values) == filled


def test_a_column_is_the_engines_column():
    column = ColumnSettings.model_validate({"from": "t", "type": "timestamp", "epoch": "ms"}).column("at")
    assert (column.name, column.data_type, column.epoch, column.nullable) == ("at", "timestamp", "ms", True)


def test_reading_the_settings_imports_nothing_heavy():
    code = (
        "import sys, sources.rest.settings, sources.columns\n"
        "print([name for name in ('dlt', 'requests', 'urllib3', 'pyarrow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
