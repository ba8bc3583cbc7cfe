import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.faker.draws import below, draw, skewed, weighted
from sources.faker.exact import decimals, half_even, labels
from sources.faker.market import Market
from sources.faker.people import World, customers
from sources.faker.settings import TABLES
from sources.faker.trades import Period, Trades
from sources.protocol import Asset

NOW = datetime(2026, 3, 1, 13, 0, 30, tzinfo=UTC)
PERIOD = Period(NOW - timedelta(days=1), NOW)
MARKET = Market.of(7, [Asset("BTC", "crypto"), Asset("AAPL", "stock"), Asset("BTC", "crypto")])
POSITIVE = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_run_repeated_from_the_same_state_brings_the_same_rows(faking, table):
    state = {}
    faking(table, state)
    before = copy.deepcopy(state)
    second = faking(table, state, now=NOW + timedelta(days=1))
    assert state != before
    assert faking(table, before, now=NOW + timedelta(days=1)).equals(second)


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_runs_bring_each_id_once_and_seeds_bring_others(faking, table):
    state = {}
    key = next(one.primary_key[0] for one in TABLES if one.name == table)
    first, second = (set(faking(table, state, now=NOW + timedelta(days=run))[key].to_pylist()) for run in (0, 1))
    if "transaction" in table:
        assert not first & second
    else:
        assert len(second - first) == len(second) - len(second & first) > 0
    assert not first & set(faking(table, {}, seed=8)[key].to_pylist())
    again = faking(table, state, seed=8)
    assert again.equals(faking(table, {}, seed=8)), "another seed starts another world"


def test_a_row_does_not_depend_on_its_page():
    trades = Trades(World(7, 1_000, 200), "personal", MARKET, PERIOD)
    whole = trades.rows(0, 1_000)
    assert pa.concat_tables([trades.rows(0, 137), trades.rows(137, 863)]).equals(whole)


def test_batch_and_stream_draw_from_disjoint_ranges():
    batch, stream = World(7, 1_000, 200), World(7, 1_000, 200, stream=True)
    for kind in ("personal", "corporate"):
        rows = [Trades(world, kind, MARKET, PERIOD).rows(0, 5_000) for world in (batch, stream)]
        for column in ("transaction_id", "customer_id"):
            assert not set(rows[0][column].to_pylist()) & set(rows[1][column].to_pylist())
    numbers, zero = np.arange(1_000), np.zeros(1_000, np.int64)
    people = [customers(world, numbers, zero) for world in (batch, stream)]
    for column in ("customer_id", "company_id"):
        assert not (set(people[0][column].to_pylist()) & set(people[1][column].to_pylist())) - {None}


def test_the_closed_form_of_versions_counts_the_changes():
    world = World(7, 40, 10)
    counted = np.zeros(40, np.int64)
    for changes in range(130):
        assert (world.versions("customers", 40, changes) == counted).all()
        [who], [version] = world.turn("customers", 40, np.array([changes]))
        counted[who] += 1
        assert counted[who] == version


@given(st.lists(st.tuples(POSITIVE, st.integers(0, 18)), min_size=1, max_size=20))
def test_decimals_from_integers_are_exact(pairs):
    units, places = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    assert decimals(units, places).to_pylist() == [Decimal(unit).scaleb(-place) for unit, place in pairs]


@given(st.integers(0, 10**18), st.integers(1, 10**12))
def test_half_even(numerator, denominator):
    [got] = half_even(np.array([numerator]), np.array([denominator]))
    assert got == round(Fraction(numerator, denominator))


def test_labels():
    assert labels("C7-", np.array([0, 42, 9_999_999_999])).to_pylist() == [
        "C7-0000000000",
        "C7-0000000042",
        "C7-9999999999",
    ]


def test_draws_are_spread_as_they_say():
    bits = draw(7, "x", np.arange(200_000))
    assert len(np.unique(bits)) == 200_000
    counts = np.bincount(below(bits, 10))
    assert len(counts) == 10
    assert abs(counts - 20_000).max() < 800
    assert abs(np.bincount(weighted(bits, [1, 3])) - [50_000, 150_000]).max() < 1_000
    low = skewed(bits, 100)
    assert low.min() == 0
    assert low.max() == 99
    assert np.median(low) < 30
    assert (draw(7, "x", np.arange(10)) == bits[:10]).all()
    assert (draw(7, "y", np.arange(10)) != bits[:10]).all()
