"""YAML is read as plain, bounded data: values, positions, and a clear error for everything else."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config.document import MAX_BYTES, dotted, parse, read_document
from engine.config.problems import ConfigError
from engine.errors import UsageError


def bomb() -> bytes:
    lines = ["a0: &a0 [" + ",".join("x" * 9) + "]"]
    lines += [f"a{level}: &a{level} [" + ",".join([f"*a{level - 1}"] * 9) + "]" for level in range(1, 10)]
    return "\n".join(lines).encode()


REFUSED = {
    "python tag": (b"a: !!python/object/apply:os.system ['true']\n", 1, "the tag !!python/object/apply:os.system"),
    "python name": (b"b: 1\na: !!python/name:os.system\n", 2, "the tag !!python/name:os.system is not allowed"),
    "own tag": (b"a: !secret x\n", 1, "the tag !secret is not allowed"),
    "tab": (b"a:\n\tb: 1\n", 2, "a tab stands where spaces belong"),
    "duplicate": (b"a: 1\nb: 2\na: 3\n", 3, "duplicate key 'a': it stands on lines 1 and 3"),
    "merge key": (b"x: &x {a: 1}\ny:\n  <<: *x\n", 3, "merge keys (<<) are not supported"),
    "anchor bomb": (bomb(), 6, "aliases expand to more than 100,000 values"),
    "deep flow": (b"[" * 100_000, 1, "nested deeper than 100 levels"),
    "deep mappings": (b"{a: " * 100_000, 1, "nested deeper than 100 levels"),
    "deep blocks": (b"- " * 100_000, 1, "nested deeper than 100 levels"),
    "deep aliases": (
        b"".join(b"- &a%d [*a%d]\n" % (n, n - 1) for n in range(1, 300)).replace(b"*a0", b"x"),
        99,
        "nest",
    ),
    "many values": (b"- a\n" * 200_000, 100_000, "more than 100,000 values"),
    "self": (b"a: &a [*a]\n", 1, "the anchor &a contains itself"),
    "no anchor": (b"a: *b\n", 1, "the alias *b has no anchor before it"),
    "NUL": (b"x: 1\na: b\0c\n", 2, "control characters are not allowed"),
    "not UTF-8": (b"a: 1\nb: \xff\xfe\n", 2, "the file is not UTF-8 text"),
    "two documents": (b"a: 1\n---\nb: 2\n", 2, "a second document starts here"),
    "empty": (b"# nothing\n", 1, "the file is empty"),
    "list as key": (b"? [a]\n: b\n", 1, "a list or mapping cannot be a key"),
    "open quote": (b"a: 'x\nb: 1\n", 3, "while scanning a quoted scalar that starts on line 1"),
    "colon": (b"a: b: c\n", 1, "mapping values are not allowed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_plain_yaml_is_refused_in_one_clear_error(case: str) -> None:
    data, line, reason = REFUSED[case]
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        parse(data, "pipelines.yaml")
    said = str(caught.value)
    assert time.monotonic() - started < 10
    assert said.startswith(f"pipelines.yaml:{line}\n")
    assert f"  yaml: {reason}" in said or reason in said
    assert "yaml: " in said
    assert said.endswith("Fix pipelines.yaml, then run `engine validate`.")
    assert len(said.splitlines()) <= 40
    assert all(char.isprintable() for char in said.replace("\n", ""))


@pytest.mark.parametrize("case", ["anchor bomb", "deep flow", "many values"])
def test_hostile_files_stay_within_512_mb_and_10_seconds(case: str, tmp_path: Path) -> None:
    (tmp_path / "pipelines.yaml").write_bytes(REFUSED[case][0])
    code = "import sys, pathlib, engine.config.load as load; load.load_project(pathlib.Path(sys.argv[1]))"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))

    command = [sys.executable, "-c", code, str(tmp_path / "pipelines.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False, timeout=60)
    assert done.returncode == 1  # an exception that reached the top: the command line turns it into exit 2
    assert REFUSED[case][2] in done.stderr


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_bytes(b"a: " + b"x" * MAX_BYTES)
    with pytest.raises(UsageError, match=r"yaml: pipelines\.yaml is larger than 5 MB"):
        read_document(path)


def test_a_missing_file_and_a_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory\n  Run the command in the project's folder"):
        read_document(tmp_path / "pipelines.yaml")
    with pytest.raises(UsageError, match="is not a file"):
        read_document(tmp_path)


def test_plain_scalars_follow_yaml_1_2() -> None:
    words = parse(b"[no, off, yes, NO, True, true, false, null, ~, 'true']", "f").value
    assert words == ["no", "off", "yes", "NO", "True", True, False, None, None, "true"]
    numbers = parse(b"[007, 1_000, 12:30, 0x1f, 1e3, .5, -2, +3, 1.10, .inf, 1e999]", "f").value
    assert numbers == ["007", "1_000", "12:30", "0x1f", 1000.0, 0.5, -2, 3, 1.1, ".inf", "1e999"]


def test_positions_of_keys_and_values() -> None:
    document = parse("a:\n  é: [x, {deep: 'quoted'}]\n".encode(), "f")
    key = document.position(("a", "é"), key=True)
    value = document.position(("a", "é", 1, "deep"))
    assert (key.line, key.column, key.width) == (2, 3, 1)
    assert (value.line, value.column, value.width) == (2, 17, 8)
    assert document.position(("a", "not there")) == document.position(("a",), key=True)
    assert dotted(("a", "é", 1, "deep")) == "a.é[1].deep"


def test_an_alias_repeats_a_whole_value() -> None:
    assert parse(b"a: &x {k: [1]}\nb: *x\n", "f").value == {"a": {"k": [1]}, "b": {"k": [1]}}


letters = st.characters(exclude_categories=["Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"])
values = st.recursive(
    st.text(letters, max_size=20) | st.booleans() | st.none() | st.integers(-(10**15), 10**15),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(letters, max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(values.filter(lambda value: value is not None))
def test_quoted_text_and_numbers_are_read_back(value: object) -> None:
    assert parse(json.dumps(value, ensure_ascii=False).encode(), "f").value == value


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_config_error(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert parse(data, "pipelines.yaml").text.name == "pipelines.yaml"
