"""Copies of a lake, between folders and buckets: `engine backup` and `engine restore` stand on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.models import FilesystemLake
from engine.errors import LakeConflictError, LakeError
from engine.lake.folder import FolderStore
from engine.lake.lake import Lake
from tests.conformance.lake_places import NOW, PRICES, Place, minio, place, prices, publish, server

__all__ = ["minio", "place", "server"]
TABLE = PRICES.name
ENTRY = "_log/raw_prices/{:020d}.json"


@pytest.fixture
def copy(tmp_path: Path) -> Place:
    """A folder that holds nothing yet."""
    return Place(FilesystemLake(type="filesystem", path="copy"), tmp_path / "elsewhere")


def copied(target: Lake, source: Lake, *, mend: bool = False) -> list[tuple[int, bool]]:
    """Copy; return (number, whether it was damaged there) of each package."""
    return [(each.entry.seq, each.mended) for each in target.copy_from(source, TABLE, mend=mend)]


def same(one: Lake, other: Lake) -> bool:
    """Whether two lakes are sound and commit the same packages, byte for byte (manifests are named by checksum)."""
    assert one.verify() == []
    assert other.verify() == []
    return list(one.entries(TABLE)) == list(other.entries(TABLE))


def test_a_copy_takes_what_is_new(place: Place, copy: Place) -> None:
    lake = place.open()
    for _ in range(3):
        publish(lake)
    assert copied(copy.open(), lake) == [(1, False), (2, False), (3, False)]
    assert copied(copy.open(), lake) == []
    publish(lake, None, state={"cursor": 7})  # a package without rows is one too
    assert copied(copy.open(), place.fresh()) == [(4, False)]
    assert same(place.fresh(), copy.fresh())
    assert copy.fresh().state("binance", "ticker", TABLE) == ({"cursor": 7}, 4)


def test_a_lake_that_is_gone_comes_back(place: Place, copy: Place) -> None:
    lake = place.open()
    for _ in range(3):
        publish(lake)
    copied(copy.open(), lake)
    other = Place(place.settings.model_copy(update={_where(place): "new"}), place.tmp_path)
    assert copied(other.open(), copy.open(), mend=True) == [(1, False), (2, False), (3, False)]
    assert same(other.fresh(), copy.fresh())
    publish(other.open())  # and goes on
    assert copied(copy.open(), other.fresh()) == [(4, False)]


def test_what_is_missing_or_damaged_is_mended_and_what_is_newer_stays(place: Place, copy: Place) -> None:
    lake = place.open()
    entries = [publish(lake) for _ in range(5)]
    copied(copy.open(), lake)
    newer = publish(lake)
    for at, edit in ((0, lambda data: data[:-1]), (1, lambda _: None), (2, lambda data: b"x" + data[1:])):
        place.change(f"{entries[at].path}/part-00000.parquet", edit)
    place.change(f"{entries[3].path}/manifest.json", lambda data: data + b" ")
    place.change(ENTRY.format(5), lambda _: None)  # a hole in the log, although entry 6 exists
    assert len(place.fresh().verify()) == 5

    mended = copied(place.fresh(), copy.open(), mend=True)
    assert mended == [(1, True), (2, True), (3, True), (4, True), (5, False)]
    assert place.fresh().verify() == []
    assert list(place.fresh().entries(TABLE)) == [*entries, newer]
    assert copied(place.fresh(), copy.open(), mend=True) == []


def test_a_damaged_package_is_not_copied(place: Place, copy: Place) -> None:
    lake = place.open()
    entries = [publish(lake, prices(("BTC", number, NOW))) for number in "123"]
    place.change(f"{entries[1].path}/part-00000.parquet", lambda data: b"x" + data[1:])
    with pytest.raises(LakeError, match=r"changed after it was landed"):
        copied(copy.open(), place.fresh())
    assert list(copy.fresh().entries(TABLE)) == entries[:1]
    assert copy.fresh().verify() == []


def test_another_lake_is_refused(place: Place, copy: Place) -> None:
    """Both have packages of that table, but not the same."""
    publish(copy.open())
    lake = place.open()
    with pytest.raises(LakeError, match=r"has 1 packages of raw_prices, .* fewer"):
        copied(copy.open(), lake)
    publish(lake)
    before = list(copy.fresh().entries(TABLE))
    for mend in (False, True):
        with pytest.raises(LakeError, match=r"package 1 of raw_prices is another one"):
            copied(copy.open(), lake, mend=mend)
    assert list(copy.fresh().entries(TABLE)) == before


def test_a_copy_that_died_is_gone_on_with(place: Place, copy: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies after a package was placed and before its entry was created."""
    lake = place.open()
    for _ in range(3):
        publish(lake)

    class KilledError(BaseException):
        pass

    def killed(*_: object) -> bool:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "create", killed)
        with pytest.raises(KilledError):
            copied(copy.open(), lake)
    assert list(copy.fresh().entries(TABLE)) == []
    assert len(list((copy.tmp_path / "copy" / "binance").rglob("manifest.json"))) == 1
    assert copied(copy.fresh(), lake) == [(1, False), (2, False), (3, False)]
    assert same(place.fresh(), copy.fresh())


def test_somebody_who_writes_there_meanwhile_is_not_overwritten(
    place: Place, copy: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = place.open()
    publish(lake)
    place_package = FolderStore.place

    def beside(self: FolderStore, *arguments: object) -> None:
        place_package(self, *arguments)
        monkeypatch.setattr(FolderStore, "place", place_package)
        publish(copy.fresh(), source="another")

    monkeypatch.setattr(FolderStore, "place", beside)
    with pytest.raises(LakeConflictError, match="somebody else has written package 1"):
        copied(copy.open(), lake)
    monkeypatch.undo()
    assert [entry.source for entry in copy.fresh().entries(TABLE)] == ["another"]
    copy.fresh().writer(
        source="binance", resource="ticker", table=PRICES, run_id="r", load_id="x", since_seq=0
    ).discard()  # the next writer sweeps what was placed
    assert copy.fresh().verify() == []


def _where(place: Place) -> str:
    return "path" if isinstance(place.settings, FilesystemLake) else "prefix"
