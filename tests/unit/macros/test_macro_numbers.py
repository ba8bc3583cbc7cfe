"""Ratios and means are exact on DuckDB, and so is what is rendered for Snowflake and Trino."""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal, localcontext

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.unit.macros.engines import ENGINES, Engines

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("macros"),
]
PLACES = Decimal("1e-18")
LIMIT = 10**14
sizes = st.integers(0, 37).flatmap(lambda digits: st.integers(-(10**digits), 10**digits))
numbers = st.none() | sizes.map(lambda whole: Decimal(whole).scaleb(-18, Context(prec=50)))
phases = (Phase.explicit, Phase.generate)  # the rows of an example are few; to shrink them takes minutes
seeded = settings(max_examples=25, derandomize=True, deadline=None, database=None, phases=phases)


def cut(dividends: list[Decimal], divisor: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec, context.rounding = 120, ROUND_DOWN
        return (sum(dividends, Decimal(0)) / divisor).quantize(PLACES)


def ratio(dividend: Decimal | None, divisor: Decimal | None) -> Decimal | None:
    if dividend is None or not divisor or max(dividend.copy_abs(), divisor.copy_abs()) >= LIMIT:
        return None
    quotient = cut([dividend], divisor)
    return quotient if quotient.copy_abs() < 10**17 else None


def mean(values: list[Decimal | None]) -> Decimal | None:
    present = [value for value in values if value is not None]
    if not present or max(value.copy_abs() for value in present) >= LIMIT:
        return None
    return cut(present, Decimal(len(present)))


@pytest.mark.parametrize("engine", ENGINES)
@seeded
@example(pairs=[(Decimal(1), Decimal(3)), (Decimal(-2), Decimal(3)), (Decimal(0), Decimal(0)), (None, Decimal(1))])
@example(pairs=[(Decimal("99999999999999.999999999999999999"), PLACES), (PLACES, Decimal(LIMIT) - PLACES)])
@example(pairs=[(Decimal(LIMIT), Decimal(1)), (Decimal(1), Decimal(LIMIT)), (Decimal("0.1"), PLACES)])
@given(pairs=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=10))
def test_a_ratio_is_cut_at_the_eighteenth_place(
    engines: Engines, engine: str, pairs: list[tuple[Decimal | None, Decimal | None]]
) -> None:
    found = engines.ask(engine, "ratio", [{"n": dividend, "m": divisor} for dividend, divisor in pairs])
    assert found == [ratio(dividend, divisor) for dividend, divisor in pairs]


@pytest.mark.parametrize("engine", ENGINES)
@seeded
@example(values=[Decimal(1), Decimal(1), Decimal(2)])
@example(values=[-PLACES, None, Decimal(0)])
@example(values=[Decimal("99999999999999.999999999999999999")] * 9)
@given(values=st.lists(numbers, min_size=1, max_size=12))
def test_a_mean_is_cut_at_the_eighteenth_place(engines: Engines, engine: str, values: list[Decimal | None]) -> None:
    assert engines.ask(engine, "mean", [{"n": value} for value in values]) == [mean(values)]
