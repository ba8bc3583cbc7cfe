"""The engine's image: what it copies is there, nothing secret is, and it runs as nobody in particular."""

from __future__ import annotations

import re

import yaml

from tests.deploy.compose_file import ROOT, as_written

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_two_stages_and_no_rights_in_the_last() -> None:
    *first, last = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    assert len(first) == 1
    assert re.search(r"^USER engine$", last, re.MULTILINE)
    assert not re.search(r"apt-get|gcc|build-essential|pip install", last)
    assert "--constraint requirements.lock" in first[0]
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.12\.\d+-slim$", DOCKERFILE, re.MULTILINE)


def test_what_is_copied_is_there_and_not_ignored() -> None:
    lines = [line.split()[1:] for line in DOCKERFILE.splitlines() if line.startswith("COPY")]
    copied = [word for words in lines if "--from=install" not in words for word in words[:-1] if word[:2] != "--"]
    assert len(copied) > 8
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in IGNORED, name
    assert IGNORED[1] == "*", "everything else stays out"
    assert not {"!.env", "!.git", "!.data"} & set(IGNORED)


def test_the_image_s_tag_is_the_project_s_version() -> None:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert f":{version}}}" in as_written()["x-engine"]["image"]
    assert yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]["build"] == {"context": "."}
