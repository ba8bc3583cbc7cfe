"""A broken model file is one clear error: the file, the line, the reason, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.model_errors import ModelError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("environments"),
]
MART = "transforms/models/marts/price.sql"
EDITS = {
    "a word too many": ("FROM stage.price\n", "FROM stage.price price of\n", f"{MART}:12", "Unexpected token"),
    "a property that there is not": ("grain (asset)", "grian (asset)", f"{MART}:3", "'grian'. Did you mean"),
    "a kind that there is not": ("kind CUSTOM", "kind CUSTM", f"{MART}:3", "Model kind specified as 'CUSTM'"),
    "a materialization that there is not": ("'replace_groups'", "'replace_group'", "transforms: ", "'replace_group'"),
    "a macro that there is not": ("COUNT(*)", "@nosuch(asset)", f"{MART}:9", "Macro 'nosuch' does not exist"),
    "a model that there is not": ("FROM stage.price\n", "FROM stage.prise\n", f"{MART}:12", "no model stage.prise"),
    "a circle": ("FROM stage.price\n", "FROM marts.dear\n", "transforms: ", "cycle"),
    "no MODEL block": ("MODEL (", "MODLE (", MART, ""),
}


def refused(project: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        project.plan()
    error = caught.value
    assert error.exit_code == 2
    assert error.remedy
    assert str(project.folder) not in str(error)
    assert "Traceback" not in str(error)
    return error


@pytest.mark.parametrize("name", EDITS)
def test_a_broken_model(written: Any, name: str) -> None:
    old, new, place, reason = EDITS[name]
    written.edit("marts.price", old, new)
    error = refused(written)
    assert error.reason.startswith(place), error
    assert reason in error.reason, error


def test_a_near_name_is_suggested_and_the_line_shown(written: Any) -> None:
    written.edit("marts.price", "FROM stage.price\n", "FROM stage.prise\n")
    error = refused(written)
    assert " > 12 | FROM stage.prise\n" in error.reason
    assert error.remedy.startswith("Did you mean 'stage.price'?")


def test_two_files_of_one_name(written: Any) -> None:
    source = written.model("marts.fee")
    source.with_name("fee2.sql").write_text(source.read_text())
    assert "Duplicate SQL model name: 'marts.fee'" in refused(written).reason


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("x = 1\n\ndef broken(:\n    pass\n", 3, "invalid syntax"),
        ("x = 1\nraise ValueError('no')\n", 2, "ValueError: no"),
    ],
)
def test_a_macro_file_that_python_cannot_run(written: Any, text: str, line: int, reason: str) -> None:
    folder: Path = written.folder / "transforms" / "macros"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "own.py").write_text(text)
    error = refused(written)
    assert error.reason.startswith(f"transforms/macros/own.py:{line}\n"), error
    assert reason in error.reason
