"""Exact quotients. Engines give DOUBLE or scales of their own for `/` and `avg`; these give DECIMAL(38, 18) everywhere.

Both divide whole numbers of 10^-18 and cut off what lies beyond the eighteenth place (towards zero).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp, parse_one
from sqlmesh import macro

from macros.dialects import dialect_of, fragment

if TYPE_CHECKING:
    from sqlmesh.core.macros import MacroEvaluator

ONE = "0.000000000000000001"
LARGEST = 10**14
"""Operands of this size and more give NULL: what they are divided into would not fit."""


@macro()
def ratio(evaluator: MacroEvaluator, dividend: exp.Expression, divisor: exp.Expression) -> exp.Expression:
    """Return dividend / divisor as DECIMAL(38, 18).

    NULL if the divisor is 0, one of them is NULL or not below 10^14 in size, or the quotient is not below 10^17.
    """
    dialect = dialect_of(evaluator)
    above, below = (_magnitude(dialect, value) for value in (dividend, divisor))
    whole, rest = _divided(dialect, above, below)
    decimals: exp.Expression = exp.cast(whole, "DECIMAL(38, 18)")
    million = exp.Literal.number(1_000_000)
    for place in (6, 12, 18):
        digits, rest = _divided(dialect, exp.Mul(this=exp.paren(rest), expression=million), below)
        step = exp.cast(exp.Literal.number("0." + "0" * (place - 1) + "1"), f"DECIMAL({place}, {place})")
        placed = exp.Mul(this=exp.cast(digits, "DECIMAL(18, 0)"), expression=step)
        decimals = exp.Add(this=decimals, expression=exp.cast(placed, "DECIMAL(38, 18)"))
    sign = parse_one("CASE WHEN (x < 0) <> (y < 0) THEN -1 ELSE 1 END").transform(
        lambda node: {"x": dividend, "y": divisor}[node.name].copy() if isinstance(node, exp.Column) else node
    )
    quotient = exp.Mul(this=exp.paren(sign), expression=exp.paren(decimals))
    largest = exp.Literal.number(LARGEST)
    inside = exp.and_(
        exp.NEQ(this=divisor.copy(), expression=exp.Literal.number(0)),
        *(exp.LT(this=exp.func("ABS", value.copy()), expression=largest.copy()) for value in (dividend, divisor)),
        exp.LT(this=whole.copy(), expression=exp.Literal.number(10**17)),
    )
    return exp.paren(exp.Case().when(inside, quotient))


@macro()
def mean(evaluator: MacroEvaluator, value: exp.Expression) -> exp.Expression:
    """Return the mean of the group's values that are not NULL, as DECIMAL(38, 18). An aggregate.

    NULL for a group without values, or with one that is not below 10^14 in size.
    """
    dialect = dialect_of(evaluator)
    largest = exp.Literal.number(LARGEST)
    fits = exp.LT(this=exp.func("ABS", value.copy()), expression=largest.copy())
    total = fragment("whole", dialect, exp.func("SUM", exp.Case().when(fits, _unscaled(dialect, value))))
    count = fragment("whole", dialect, exp.func("COUNT", value.copy()))
    quotient, _ = _divided(dialect, total, exp.func("NULLIF", count, exp.Literal.number(0)))
    step = exp.cast(exp.Literal.number(ONE), "DECIMAL(18, 18)")
    exact = exp.cast(exp.Mul(this=exp.cast(quotient, "DECIMAL(38, 0)"), expression=step), "DECIMAL(38, 18)")
    all_fit = exp.LT(this=exp.func("MAX", exp.func("ABS", value.copy())), expression=largest)
    return exp.paren(exp.Case().when(all_fit, exact))


def _magnitude(dialect: str, value: exp.Expression) -> exp.Expression:
    return exp.func("ABS", _unscaled(dialect, value))


def _unscaled(dialect: str, value: exp.Expression) -> exp.Expression:
    """Return the value as a whole number of 10^-18: its text without the point."""
    written = exp.cast(exp.cast(value.copy(), "DECIMAL(38, 18)"), "TEXT")
    return fragment("whole", dialect, exp.func("REPLACE", written, exp.Literal.string("."), exp.Literal.string("")))


def _divided(dialect: str, above: exp.Expression, below: exp.Expression) -> tuple[exp.Expression, exp.Expression]:
    """Return the whole quotient, cut off towards zero, and what is left."""
    quotient = fragment("divide", dialect, above.copy(), y=below.copy())
    return quotient, exp.Mod(this=exp.paren(above.copy()), expression=exp.paren(below.copy()))
