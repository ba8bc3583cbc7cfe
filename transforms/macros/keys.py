"""Keys: how a business key is folded, how any row of values becomes one hash.

The rules, the same on DuckDB, Snowflake and Trino:
- trim takes every character of Unicode's White_Space property off both ends; what is empty then is NULL;
- folding is `translate` over the ASCII letters, because engines disagree on the upper case of others;
- a hash is the MD5 of an injective text: parts joined by `|`, with `~` written `~0`, `|` written `~1` and NULL `~n`
  inside of them, so that no two rows of parts share a text. MD5 is the one hash that all three engines have as a
  function of text; nothing here is a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp
from sqlmesh import macro

from macros.dialects import dialect_of, fragment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmesh.core.macros import MacroEvaluator

WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Every character that Unicode 16 gives the property White_Space."""
LOWER, UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@macro()
def text(evaluator: MacroEvaluator, value: exp.Expression) -> exp.Expression:
    """Return a text without white space at its ends; NULL if nothing is left."""
    dialect = dialect_of(evaluator)
    # what Snowflake's literals cannot say is in its fragment
    characters = WHITE_SPACE.replace("\x0b", "") if dialect == "snowflake" else WHITE_SPACE
    trimmed = fragment("trim", dialect, value, w=exp.Literal.string(characters))
    return exp.func("NULLIF", trimmed, exp.Literal.string(""))


@macro()
def fold_upper(evaluator: MacroEvaluator, value: exp.Expression) -> exp.Expression:
    """Return a business key: trimmed, ASCII letters in upper case."""
    return _translate(text(evaluator, value), LOWER, UPPER)


@macro()
def fold_lower(evaluator: MacroEvaluator, value: exp.Expression) -> exp.Expression:
    """Return an asset type: trimmed, ASCII letters in lower case."""
    return _translate(text(evaluator, value), UPPER, LOWER)


@macro()
def hash_key(evaluator: MacroEvaluator, *parts: exp.Expression) -> exp.Expression:
    """Return the hash key of folded key columns; NULL as soon as one of them is NULL."""
    whole = hash_of(dialect_of(evaluator), parts)
    missing = exp.or_(*(exp.Is(this=part.copy(), expression=exp.null()) for part in parts))
    return exp.Case().when(exp.not_(missing) if len(parts) > 1 else missing.not_(), whole)


@macro()
def row_hash(evaluator: MacroEvaluator, *parts: exp.Expression) -> exp.Expression:
    """Return the hash of a row of values, some of which may be NULL."""
    return hash_of(dialect_of(evaluator), parts)


@macro()
def key_bits(evaluator: MacroEvaluator, key: exp.Expression) -> exp.Expression:
    """Return a hash key's first 60 bits as BIGINT: a look-up by it reads 8 bytes a row in place of 32."""
    return fragment("bits", dialect_of(evaluator), key)


def hash_of(dialect: str, parts: Sequence[exp.Expression]) -> exp.Expression:
    """Return the MD5, in lower-case hex, of the parts' injective text. A part with a cast is written by its type."""
    joined: exp.Expression = encoded(dialect, parts[0])
    for part in parts[1:]:
        joined = exp.DPipe(
            this=exp.DPipe(this=joined, expression=exp.Literal.string("|")), expression=encoded(dialect, part)
        )
    return fragment("md5", dialect, joined)


def encoded(dialect: str, part: exp.Expression) -> exp.Expression:
    """Return one part's text within a hash: by the type it is cast to, text if there is no cast."""
    kind = part.to.this if isinstance(part, exp.Cast) else exp.DataType.Type.TEXT
    if kind in exp.DataType.TEXT_TYPES:
        written: exp.Expression = _replace(_replace(part, "~", "~0"), "|", "~1")
    elif kind in {exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMP}:
        written = fragment("instant", dialect, part)
    elif kind is exp.DataType.Type.DATE:
        written = fragment("day", dialect, part)
    else:
        written = exp.cast(part.copy(), "TEXT")
    return exp.func("COALESCE", written, exp.Literal.string("~n"))


def _replace(value: exp.Expression, what: str, by: str) -> exp.Expression:
    return exp.func("REPLACE", value.copy(), exp.Literal.string(what), exp.Literal.string(by))


def _translate(value: exp.Expression, what: str, by: str) -> exp.Expression:
    return exp.func("TRANSLATE", value, exp.Literal.string(what), exp.Literal.string(by))
