"""Every example of YAML on a page is a valid edit of pipelines.yaml."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config.jsonschema import build_schema
from engine.config.load import load_project
from tests.docs.pages import ROOT, Block, blocks, examples, with_example

ENV = {"PATH": "/usr/bin:/bin", "EXAMPLE_KEY": "k", "EXAMPLE_PASSWORD": "p", "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "s"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "transforms", tmp_path / "transforms")
    shutil.copytree(ROOT / "data", tmp_path / "data")
    return tmp_path


def test_every_block_of_yaml_is_an_example() -> None:
    assert [(block.page, block.body) for block in blocks() if block.kind == "yaml" and not block.title] == []
    assert {"a coin", "a stock", "a REST API", "a schedule"} <= {block.title for block in examples()}


@pytest.mark.parametrize("block", examples(), ids=lambda block: f"{block.page}: {block.title}")
def test_an_example_is_valid(block: Block, project: Path) -> None:
    (project / "pipelines.yaml").write_text(with_example(block), encoding="utf-8")
    loaded = load_project(project / "pipelines.yaml", env=ENV)
    for name in yaml.safe_load(block.body).get("sources", {}):
        assert name in loaded.resources


@pytest.mark.parametrize("block", [one for one in examples() if one.page == "README.md"], ids=lambda block: block.title)
def test_an_example_of_the_readme_passes_engine_validate(block: Block, project: Path) -> None:
    (project / "pipelines.yaml").write_text(with_example(block), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("engine")), "validate"]
    done = subprocess.run(command, cwd=project, env=ENV, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "pipelines.yaml is right" in done.stdout


def words_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*map(str, value), *(word for inner in value.values() for word in words_of(inner))}
    return {word for inner in value for word in words_of(inner)} if isinstance(value, list) else {str(value)}


def test_every_word_of_a_rest_source_stands_in_an_example() -> None:
    shown = {w for one in examples() if one.page == "sources.md" for w in words_of(yaml.safe_load(one.body))}
    definitions = build_schema()["$defs"]
    blocks = ["RestSource", "ClientSettings", "LimitSettings", "RestResource", "RestColumn", "Incremental", "ErrorRule"]
    blocks += ["ApiKey", "Bearer", "Basic", "PageNumber", "Offset", "Cursor", "NextLink", "When", "WeightSteps"]
    missing = {f"{block}.{key}" for block in blocks for key in definitions[block]["properties"] if key not in shown}
    assert missing == set()
    assert {"split", "skip", "terminal", "fail"} <= shown


def test_an_example_that_is_wrong_would_be_found(project: Path) -> None:
    wrong = Block("README.md", "wrong", "yaml", "pipelines: {prices-crypto-pipeline: {extract: [coinbasse]}}")
    (project / "pipelines.yaml").write_text(with_example(wrong), encoding="utf-8")
    with pytest.raises(Exception, match="unknown source 'coinbasse'"):
        load_project(project / "pipelines.yaml", env=ENV)
