"""The committed JSON Schema is the generated one, and it agrees with the models about real files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from engine.config.document import parse, read_document
from engine.config.jsonschema import build_schema, render_schema, write_schema

ROOT = Path(__file__).parents[3]


def test_the_committed_schema_is_the_generated_one(tmp_path: Path) -> None:
    write_schema(tmp_path / "schema.json")
    assert (tmp_path / "schema.json").read_text() == render_schema()
    assert (ROOT / "pipelines.schema.json").read_text() == render_schema(), "run `engine schema --write`"


def test_the_projects_own_file_fits_its_schema() -> None:
    schema = build_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(read_document(ROOT / "pipelines.yaml").value, schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sources", "yfinance", "type"), "yfinanse"),
        (("assets", "crypto", "topp"), 3),
        (("assets", "crypto", "top"), "many"),
        (("profiles", "local", "lake", "type"), "s4"),
        (("profiles", "local", "warehouse", "pth"), "x"),
        (("pipelines", "Bad Name"), {"extract": ["faker"]}),
        (("sources", "x"), {"type": "rest"}),
    ],
)
def test_an_editor_sees_the_mistake(path: tuple[str, ...], value: object) -> None:
    document = read_document(ROOT / "pipelines.yaml").value
    block = document
    for part in path[:-1]:
        block = block[part]
    block[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, build_schema())


def test_variables_may_stand_for_numbers() -> None:
    document = read_document(ROOT / "pipelines.yaml").value
    document["assets"]["crypto"]["top"] = "${TOP:-50}"
    jsonschema.validate(document, build_schema())


def test_every_setting_of_the_schema_is_json() -> None:
    assert json.loads(render_schema()) == build_schema()
    assert parse(render_schema().encode(), "f").value == build_schema()


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from engine.config.load import load_project;"
        "load_project(Path('pipelines.yaml'), profile='local', env={});"
        "print([n for n in ('dlt','duckdb','pyarrow','pandas','requests','yfinance','faker','numpy','croniter')"
        " if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
