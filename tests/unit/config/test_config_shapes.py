"""Whatever stands at whatever place of the file: a project or a clear error, never anything else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config.document import parse
from engine.config.load import Project, load_project
from engine.config.problems import ConfigError

JUNK: list[Any] = [None, True, 5, -1, 1.5, "x", "", "${NOT_SET}", "../x", "a\x00b", [], {}, [[1]], {"a": None}, [None]]
JUNK += [{"type": "rest"}, {"type": ["rest"]}, "assets.x.y", "{assets.x}", "* * * * *", "x" * 5_000]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        found += places(item, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = copy.deepcopy(value)
    block = changed
    for part in path[:-1]:
        block = block[part]
    block[path[-1]] = junk
    return changed


def load(folder: Path, value: Any) -> Project | str:
    (folder / "pipelines.yaml").write_text(json.dumps(value, indent=1))
    try:
        return load_project(folder / "pipelines.yaml", env={})
    except ConfigError as error:
        return str(error)


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_at_any_place(data: st.DataObject, folder: Path) -> None:
    value = parse((folder / "original.yaml").read_bytes(), "original.yaml").value
    path = data.draw(st.sampled_from(places(value)))
    loaded = load(folder, put(value, path, data.draw(st.sampled_from(JUNK))))
    if isinstance(loaded, str):
        assert loaded.startswith("pipelines.yaml:")
        assert len(loaded.splitlines()) <= 40
        assert max(len(line) for line in loaded.splitlines()) <= 400
        assert all(char.isprintable() for char in loaded.replace("\n", ""))


@pytest.fixture(autouse=True)
def original(folder: Path) -> None:
    (folder / "original.yaml").write_bytes((folder / "pipelines.yaml").read_bytes())
