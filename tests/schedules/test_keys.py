"""A password that stands in a server's address: sent as Prefect's own setting for it, and shown by no log."""

from __future__ import annotations

import os
from unittest import mock

from engine.schedules.settings import named_server

ADDRESS = "http://op:pa%40ss-Planted@127.0.0.1:9/api"


def test_user_and_password_leave_the_address() -> None:
    with mock.patch.dict(os.environ):
        os.environ.pop("PREFECT_API_AUTH_STRING", None)
        found = named_server(ADDRESS)
        assert found["PREFECT_API_URL"] == "http://127.0.0.1:9/api"
        assert found["PREFECT_API_AUTH_STRING"] == "op:pa@ss-Planted"
        assert "PREFECT_API_AUTH_STRING" not in named_server("http://127.0.0.1:9/api")
        os.environ["PREFECT_API_AUTH_STRING"] = "an:other"
        found = named_server(ADDRESS)
        assert "Planted" not in str(found)
        assert "PREFECT_API_AUTH_STRING" not in found
