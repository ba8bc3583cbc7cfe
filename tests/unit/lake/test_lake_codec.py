"""Manifests and entries as bytes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import LakeError
from engine.lake.codec import entry_bytes, manifest_bytes, read_entry, read_manifest
from engine.lake.package import Entry, Manifest, PackageFile
from engine.table import Column

NOW = datetime(2026, 5, 1, 12, 0, 0, 1, tzinfo=UTC)


def manifest(state: dict[str, Any]) -> Manifest:
    return Manifest(
        load_id="l",
        run_id="r",
        source="s",
        resource="r",
        table="t",
        format="parquet",
        rows=1,
        quarantined=0,
        bytes=3,
        extracted_from=NOW,
        extracted_to=NOW,
        files=(PackageFile("part-00000.parquet", 1, 3, "00"),),
        columns=(Column("a", "timestamp", timezone="UTC", epoch="ms"),),
        primary_key=("a",),
        state=state,
    )


ENTRY = Entry(1, "l", "s/t/d/l", "s", "r", "t", 1, 0, 3, NOW, "00", {"s/r": 1})
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(),
    st.decimals(allow_nan=False),
)
states = st.dictionaries(
    st.text(), st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)


@given(states)
def test_a_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    assert read_manifest(manifest_bytes(manifest(state)), "x") == manifest(state)


def test_times_come_back_as_the_same_instants() -> None:
    hanoi = datetime(2026, 5, 1, 19, tzinfo=timezone(timedelta(hours=7)))
    back = read_manifest(manifest_bytes(manifest({"at": hanoi, "day": date(2026, 5, 1), "p": Decimal("1.10")})), "x")
    assert back.state == {"at": hanoi, "day": date(2026, 5, 1), "p": Decimal("1.10")}
    assert str(back.state["p"]) == "1.10"


def test_an_entry_comes_back_as_it_was() -> None:
    assert read_entry(entry_bytes(ENTRY), "x") == ENTRY


def test_a_state_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(LakeError, match="holds a set"):
        manifest_bytes(manifest({"seen": {1, 2}}))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"null", b"\xff", b'{"seq": 1}'])
def test_damage_is_named(data: bytes) -> None:
    for read in (read_entry, read_manifest):
        with pytest.raises(LakeError, match="lake x: _log/t/1 is damaged"):
            read(data, "lake x: _log/t/1")


def test_a_newer_format_is_refused_not_guessed() -> None:
    newer = json.dumps({**json.loads(entry_bytes(ENTRY)), "version": 2}).encode()
    with pytest.raises(LakeError, match="newer Tickhouse") as caught:
        read_entry(newer, "x")
    assert "Update" in caught.value.remedy
