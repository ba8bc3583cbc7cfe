import json
from urllib.parse import quote

import pytest

from engine.redact import MASK, Redactor

SECRET = "K9/+%\"'zz§aa 00"  # noqa: S105 - a planted one


@pytest.mark.parametrize("form", [SECRET, quote(SECRET, safe=""), json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1]])
def test_every_form_of_a_secret_is_masked(form):
    shown = Redactor([SECRET])(f"GET https://host/?key={form} failed")
    assert form not in shown
    assert MASK in shown


def test_text_without_secrets_is_unchanged():
    assert Redactor([SECRET, "abc"])("abc def") == "abc def"


def test_a_secret_inside_another_is_masked_as_a_whole():
    assert Redactor(["token", "token-and-more"])("x token-and-more y") == f"x {MASK} y"


def test_a_secret_in_a_key_is_masked():
    assert Redactor([SECRET, "12345"]).tree({"at": {f"https://host/?key={SECRET}": 1, "no. 12345": 2}}) == {
        "at": {f"https://host/?key={MASK}": 1, f"no. {MASK}": 2}
    }


def test_a_json_value_keeps_its_keys_and_numbers():
    assert Redactor(["rows", "12345"]).tree({"rows": [12345, "key 12345"]}) == {"rows": [12345, f"key {MASK}"]}
