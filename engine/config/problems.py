"""How a mistake in the configuration is shown: file:line, path, context, caret, reason, remedy.

The context is the file's own text, so a value that came from `${NAME}` never appears in it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.redact import Redactor

BEFORE, AFTER = 2, 3
MAX_SHOWN = 5
MAX_LINES = 38
MAX_WIDTH = 140
MAX_LINE = 400
WRITTEN_SECRET = re.compile(
    r"""(\b(?:password|passwd|token|secret\w*|access_key|api_key|private_key|key)["']?:\s+(?!\$\{)(?!["']\$\{)"""
    r"""|://[^\s/@:]*:(?!\$\{)(?=[^\s@]*@))("[^"]*"|'[^']*'|[^\s,}\]@]+)"""
)


@dataclass(frozen=True, slots=True)
class Text:
    """A file's name, as the user knows it, and its lines."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands: line and column count from 1; `width` is what the caret underlines."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, what is wrong and what to do."""

    text: Text
    at: Position
    path: str
    reason: str
    remedy: str

    @property
    def place(self) -> str:
        """`pipelines.yaml:12  path.to.key`."""
        return f"{self.text.name}:{self.at.line}  {self.path}".rstrip()

    def lines(self) -> list[str]:
        """Lay the whole problem out: place, context with the caret, reason, remedy."""
        remedy = [f"  {self.remedy}"] if self.remedy else []
        return [self.place, *self._context(), f"  {self.reason}", *remedy]

    def brief(self) -> list[str]:
        """The same in two lines, for when the first problems have taken the room."""
        return [self.place, f"  {self.reason}. {self.remedy}"]

    def _context(self) -> list[str]:
        total = len(self.text.lines)
        first, last = max(1, self.at.line - BEFORE), min(total, self.at.line + AFTER)
        gutter = len(str(last))
        # a long line is shown from a little before the caret, all lines shifted alike
        shift = max(0, self.at.column - MAX_WIDTH + 20) if self.at.column + self.at.width > MAX_WIDTH else 0
        shown = []
        for number in range(first, last + 1):
            line = _veil(self.text.lines[number - 1])[shift : shift + MAX_WIDTH].replace("\t", " ")
            mark = ">" if number == self.at.line else " "
            shown.append(f" {mark} {number:>{gutter}} | {line}".rstrip())
            if number == self.at.line:
                start = self.at.column - shift - 1
                carets = "^" * max(1, min(self.at.width, MAX_WIDTH - start))
                shown.append(f"   {'':>{gutter}} | {' ' * start}{carets}")
        return shown


def _veil(line: str) -> str:
    """Cover a secret that somebody wrote into the file itself; `${NAME}` stays readable, columns stay in place."""
    return WRITTEN_SECRET.sub(lambda found: found[1] + "*" * len(found[2]), line)


class ConfigError(UsageError):
    """The configuration is wrong (exit 2). `problems` holds every mistake found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem], *, secrets: Iterable[str] = ()) -> None:
        """Lay out the first problems in at most 40 lines; `secrets` are blotted out wherever they appear."""
        self.problems = sorted(problems, key=lambda problem: (problem.text.name, problem.at.line, problem.at.column))
        names = sorted({problem.text.name for problem in self.problems})
        remedy = f"Fix {' and '.join(names)}, then run `engine validate`."
        self._redact = Redactor(secrets)
        super().__init__(self._redact("\n".join(_layout(self.problems))), remedy)

    @property
    def line(self) -> str:
        """The first mistake on one line, and how many more there are."""
        first, more = self.problems[0], len(self.problems) - 1
        told = f"{first.place}: {first.reason}{f' — {first.remedy}' if first.remedy else ''}"
        return self._redact(" ".join(told.split())) + (f" (and {more} more)" if more else "")

    def __str__(self) -> str:
        """Everything a person needs to mend the file."""
        return f"{self.reason}\n\n{self.remedy}"


def _layout(problems: Sequence[Problem]) -> list[str]:
    """Show the first problems whole, the next ones as two lines where room is short, then a count."""
    lines: list[str] = []
    shown = 0
    for problem in problems[:MAX_SHOWN]:
        whole = problem.lines()
        gap = [""] if lines else []
        room = MAX_LINES - 3 - len(lines) - len(gap)
        rest = 3 * (min(len(problems), MAX_SHOWN) - shown - 1)
        chosen = whole if len(whole) + rest <= room else problem.brief()
        lines += [*gap, *chosen]
        shown += 1
    if len(problems) > shown:
        lines += ["", f"... and {len(problems) - shown} more problems."]
    return ["".join(char if char.isprintable() else "?" for char in line)[:MAX_LINE] for line in lines]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known value that a word is most likely a misspelling of."""
    lowered = {option.lower(): option for option in sorted(set(known))}
    near = difflib.get_close_matches(word.lower()[:100], lowered, n=1, cutoff=0.6)
    return lowered[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'Did you mean X? ' where a known value is near, else nothing."""
    near = nearest(word, known)
    return f"Did you mean {near!r}? " if near else ""


def choices(known: Iterable[str], limit: int = 12) -> str:
    """Known values for a remedy, cut after `limit`."""
    options = sorted(set(known))
    shown = ", ".join(options[:limit]) or "(none)"
    return shown + (f", ... ({len(options)} in all)" if len(options) > limit else "")
