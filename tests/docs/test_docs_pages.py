"""Generated pages are current, settings, modules and errors are documented, links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest
from pydantic import BaseModel

import engine
from destinations import DESTINATION_TYPES
from engine.config.jsonschema import build_schema, render_schema
from engine.errors import TickhouseError
from sources import SOURCE_TYPES
from tests.docs.pages import PAGES, ROOT

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:work|home|root|tmp|Users|mnt|var/folders)/")


def generator() -> ModuleType:
    spec = spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands.md", "configuration.md", "metrics.md"])
def test_a_generated_page_is_current(page: str) -> None:
    assert generator().PAGES[page]() == (ROOT / "docs" / page).read_text(encoding="utf-8"), "run `make docs`"


def test_the_committed_schema_is_current() -> None:
    assert render_schema() == (ROOT / "pipelines.schema.json").read_text(encoding="utf-8"), "run `make docs`"


def described() -> Iterator[tuple[str, str]]:
    """(block.key, description) of every setting."""
    schema = build_schema()
    for name, block in {"the file": schema, **schema["$defs"]}.items():
        for key, value in block.get("properties", {}).items():
            yield f"{name}.{key}", value.get("description", "")


def test_every_setting_is_described() -> None:
    found = dict(described())
    assert len(found) > 100
    assert [name for name, text in found.items() if len(text) < 5 or "\n" in text] == []


def models(kinds: dict[str, tuple[str, str]]) -> Iterator[type[BaseModel]]:
    for module, _ in kinds.values():
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                yield value


def test_every_block_is_described() -> None:
    blocks = {*models({"": ("engine.config.models", "")}), *models(SOURCE_TYPES), *models(DESTINATION_TYPES)}
    assert len(blocks) > 30
    assert [block.__name__ for block in blocks if not (block.__dict__.get("__doc__") or "").strip()] == []


@pytest.mark.parametrize("package", ["engine", "sources", "destinations"])
def test_every_module_says_what_it_does(package: str) -> None:
    paths = sorted((ROOT / package).rglob("*.py"))
    assert paths
    silent = [path for path in paths if not (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")]
    assert silent == []


def error_classes() -> set[type[TickhouseError]]:
    for module in pkgutil.walk_packages(engine.__path__, "engine."):
        importlib.import_module(module.name)
    for name in ("sources.rest.walk", "destinations.ducklake", "destinations.duckdb"):
        importlib.import_module(name)
    found, look = set(), [TickhouseError]
    while look:
        one = look.pop()
        found.add(one)
        look += one.__subclasses__()
    return {one for one in found if one.__module__.split(".")[0] in {"engine", "sources", "destinations"}}


def test_every_error_is_documented() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    classes = error_classes()
    assert len(classes) >= 7
    assert sorted(one.__name__ for one in classes if f"`{one.__name__}`" not in page) == []
    assert sorted(one.__name__ for one in classes if not (one.__dict__.get("__doc__") or "").strip()) == []


def anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    plain = (re.sub(r"[`*]", "", heading).strip().lower() for heading in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = unquote(link).partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_path_of_one_machine(page: Path) -> None:
    assert MACHINE_PATH.findall(page.read_text(encoding="utf-8")) == []


def test_decisions_have_their_parts_and_numbers() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    for page in pages:
        titles = HEADING.findall(page.read_text(encoding="utf-8"))
        assert titles[1:] == ["Context", "Decision", "Figures", "What would change it"], page.name


def test_files_that_pages_name_exist() -> None:
    named = re.compile(r"`((?:engine|sources|destinations|transforms|tests|docs|data|deploy)/[\w./-]+)`")
    for page in PAGES:
        for path in named.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), (page.name, path)


def test_the_tests_see_the_pages() -> None:
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "configuration.md"} <= {page.name for page in PAGES}


def test_benchmarks_and_tests_that_pages_name_exist() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for module in re.findall(r"python -m ((?:tests|sources)[.\w]+)", text):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), (page.name, module)
        for name in re.findall(r"`(test_\w+)`", text):
            assert f"def {name}(" in tests, (page.name, name)
