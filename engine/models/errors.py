"""What is wrong with a model file, said as pipelines.yaml's mistakes are: file:line, context, caret, reason, remedy."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.problems import Position, Problem, Text, nearest
from engine.errors import TickhouseError, UsageError

if TYPE_CHECKING:
    from sqlmesh import Context

PLACE = re.compile(r"Line (\d+), Col: (\d+)")
STYLE = re.compile(r"\x1b\[\d*m")
WRAPPING = re.compile(r"\A(?:\s*Failed to load \w+ from file '[^']*':\s*)+")
REMEDY = "Correct the file, then run `engine plan`."


QUOTED = re.compile(r"""(?:column named|[Cc]olumn|[Tt]able with name|[Ff]unction with name|extract field) ["']?(\w+)""")
"""The name that the warehouse does not know, in its own words."""


class ModelError(UsageError):
    """A model, macro or audit cannot be read. Nothing was changed anywhere.

    `short` is the reason on one line, as reports have it: file:line: what is wrong.
    """

    def __init__(self, reason: str, remedy: str = "", short: str = "") -> None:
        """Without `short` the reason is one line already."""
        super().__init__(reason, remedy)
        self.short = short or reason


@contextmanager
def clear_model_errors(project_dir: Path) -> Iterator[None]:
    """Turn what SQLMesh raises while it reads the project into one ModelError with file and line."""
    try:
        yield
    except TickhouseError:
        raise
    except Exception as error:  # a macro file may raise anything
        raise _model_error(error, project_dir) from error


def failed_model(context: Context, project_dir: Path, name: str, message: str) -> ModelError | None:
    """Return what the warehouse could not understand in a model, a misspelt column say; None for other failures."""
    model = next((found for found in context.models.values() if found.fqn.replace('"', "") == name), None)
    if model is None or not model._path or not re.match(r"(?:Binder|Catalog|Parser) Error", message):  # noqa: SLF001
        return None
    first = " ".join(message.partition("LINE 1:")[0].split())
    named = QUOTED.search(first)
    word = named[1] if named else next(iter(re.findall(r'"([^"]+)"', first)), "")
    return problem_in(project_dir, Path(model._path), None, word, f"{name}: {first[:300]}", REMEDY)  # noqa: SLF001


def _model_error(error: Exception, project_dir: Path) -> ModelError:
    chain = _chain(error)
    place = next((found for one in reversed(chain) if (found := PLACE.search(str(one)))), None)
    location = next((found for one in chain if (found := getattr(one, "location", None))), None)
    line = int(place[1]) if place else None
    if location is None:
        location, line = _python_place(error, project_dir) or _yaml_place(error, project_dir) or (None, None)
    reason = _sentence(chain)
    if location is None:
        return ModelError(f"transforms: {reason}", REMEDY)
    word = next((found for found in re.findall(r"'([^']+)'", reason) if "/" not in found), "")
    if reason.endswith(f"missing a required argument: '{word}'"):
        written = nearest(word, re.findall(r"(\w+)\s*:=", Path(location).read_text(encoding="utf-8", errors="replace")))
        if written and written != word:
            reason, word, line = f"the macro has no argument {written!r}: is it {word!r}?", written, None
    return problem_in(
        project_dir, Path(location), (line, int(place[2])) if place and line else line, word, reason, REMEDY
    )


def reason_of(error: BaseException) -> str:
    """Return why a macro could not be resolved, without the code around it; of other errors all that they say."""
    from sqlmesh.utils.errors import ConfigError

    return _sentence(_chain(error)) if isinstance(error, ConfigError) else str(error)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from, the innermost last."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    return chain


def _sentence(chain: list[BaseException]) -> str:
    """The innermost message that says something, on one line."""
    telling = [error for error in chain if not isinstance(error, KeyError)] or chain
    for error in reversed(telling):
        text = WRAPPING.sub("", STYLE.sub("", str(error))).strip()
        if isinstance(error, SyntaxError):
            text = error.msg
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
        if paragraphs:
            first = PLACE.split(paragraphs[0])[0].rstrip(". ").removesuffix(" Example:")
            return (
                f"{type(error).__name__}: {first}" if len(first.split()) == 1 else re.sub(r" at '/.*", "", first)[:300]
            )
    return type(chain[0]).__name__


def _python_place(error: Exception, project_dir: Path) -> tuple[Path, int | None] | None:
    """The last line of the project's own Python that was run, or that could not be read."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).exists():
        return Path(error.filename), error.lineno
    own = [
        (Path(frame.filename), frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(project_dir / "transforms")
    ]
    return own[-1] if own else None


def _yaml_place(error: Exception, project_dir: Path) -> tuple[Path, int | None] | None:
    """A YAML error names no file: it is the one that nobody can read."""
    import yaml

    from engine.models.dbt import model_files

    if not any(hasattr(one, "problem_mark") for one in _chain(error)):
        return None
    for path in model_files(project_dir / "transforms", frozenset({".yaml", ".yml"})):
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError:
            return path, None
    return None


def problem_in(
    project_dir: Path, path: Path, at: tuple[int, int] | int | None, word: str, reason: str, remedy: str
) -> ModelError:
    """Lay the mistake out; where no line is known it is the first one that has `word`."""
    try:
        lines = tuple(path.read_text(encoding="utf-8", errors="replace").splitlines()) or ("",)
    except OSError:
        lines = ("",)
    column, width = 1, 1
    if isinstance(at, tuple):
        line, column = at
    elif at is not None:
        line = at
    else:
        found = re.compile(rf"\b{re.escape(word)}\b") if word else None
        line = next((number for number, text in enumerate(lines, 1) if found and found.search(text)), 1)
        if found and (match := found.search(lines[line - 1])):
            column, width = match.start() + 1, len(word)
    line = min(max(line, 1), len(lines))
    name = str(path.relative_to(project_dir)) if path.is_relative_to(project_dir) else path.name
    problem = Problem(Text(name, lines), Position(line, column, width), "", reason, remedy)
    return ModelError("\n".join(problem.lines()[:-1]), remedy, f"{name}:{line}: {reason}")
