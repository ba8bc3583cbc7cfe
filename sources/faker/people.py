"""Customers and corporates as Arrow tables: each row follows from (seed, number, version).

Version 0 is the first delivery. Version v differs from v - 1 in one respect: a customer's tier on odd versions (one
step up or down), else risk tolerance or, every fourth time, the country; a corporate's office on every version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from sources.faker.draws import Bits, Ints, below, draw, skewed, weighted
from sources.faker.exact import chosen, labels
from sources.faker.pools import COUNTRIES, COUNTRY_WEIGHTS, Pool, plain, pools

STREAM_NUMBERS = 5_000_000_000
"""Ids of a stream start here, those of batches at 0: they never meet for a seed."""
TIERS = ["BRONZE", "SILVER", "GOLD", "PLATINUM"]
RISKS = ["LOW", "MEDIUM", "HIGH"]
AGES = ["18-24", "25-34", "35-44", "45-54", "55-64", "65+"]
TRADES = ["Logistics", "Capital", "Energy", "Foods", "Systems", "Partners", "Holdings", "Robotics", "Textiles"]
TRADES += ["Marine", "Pharma", "Media", "Optics", "Mining", "Motors", "Paper", "Steel", "Travel", "Trading", "Water"]
EMPLOYED_PERCENT = 15
VERIFIED_PERCENT = 85
_TIER_WALK = np.array([0, 1, 2, 3, 2, 1], dtype=np.int64)
_RISK_WALK = np.array([0, 1, 2, 1], dtype=np.int64)
_EPOCH = date(1970, 1, 1)
_CUSTOMERS_SINCE = (date(2018, 1, 1) - _EPOCH).days
_CORPORATES_SINCE = (date(2015, 1, 1) - _EPOCH).days
_REGISTRATION_DAYS = 2_800


@dataclass(frozen=True)
class World:
    """One seed's people. `customers` and `corporates` are the first deliveries, to which everything refers."""

    seed: int
    customers: int
    corporates: int
    stream: bool = False

    @property
    def base(self) -> int:
        """The number of row 0 of every table."""
        return STREAM_NUMBERS if self.stream else 0

    def ids(self, letter: str, numbers: Ints) -> pa.Array:
        """Write ids: the letter, the seed, and the number in ten digits."""
        return labels(f"{letter}{self.seed}-", numbers + self.base)

    def bits(self, column: str, numbers: Ints) -> Bits:
        """Draw a column's bits for these numbers."""
        return draw(self.seed, column, numbers + self.base)

    def turn(self, table: str, size: int, events: Ints) -> tuple[Ints, Ints]:
        """Say whom the n-th change concerns: (number, version) for each event.

        Changes walk through the first `size` rows in a scattered order, so none comes twice within `size` changes.
        """
        step, offset = self._stride(table, size)
        return (events * step + offset) % size, events // size + 1

    def versions(self, table: str, size: int, events: int) -> Ints:
        """Give the version of each of the first `size` rows after so many changes."""
        versions = np.full(size, events // size, dtype=np.int64)
        rest = np.arange(events - events % size, events, dtype=np.int64)
        versions[self.turn(table, size, rest)[0]] += 1
        return versions

    def _stride(self, table: str, size: int) -> tuple[int, int]:
        bits = int(draw(self.seed, f"{table}/turn", np.zeros(1, np.int64))[0]) >> 33
        step = bits % size or 1
        while np.gcd(step, size) != 1:
            step += 1
        return step, bits % size

    def tiers(self, numbers: Ints, versions: Ints) -> Ints:
        """Give each customer's tier as a position in TIERS."""
        start = weighted(self.bits("customers/tier", numbers), [50, 30, 15, 5])
        tiers: Ints = _TIER_WALK[(start + (versions + 1) // 2) % len(_TIER_WALK)]
        return tiers

    def risks(self, numbers: Ints, versions: Ints) -> Ints:
        """Give each customer's risk tolerance as a position in RISKS."""
        start = below(self.bits("customers/risk", numbers), len(_RISK_WALK))
        risks: Ints = _RISK_WALK[(start + (versions + 2) // 4) % len(_RISK_WALK)]
        return risks

    def corporate_tiers(self, numbers: Ints) -> Ints:
        """Give each corporate's tier as a position in TIERS."""
        return weighted(self.bits("corporates/tier", numbers), [5, 25, 45, 25])

    def corporate_risks(self, numbers: Ints) -> Ints:
        """Give each corporate's risk tolerance as a position in RISKS."""
        return below(self.bits("corporates/risk", numbers), len(RISKS))


def customers(world: World, numbers: Ints, versions: Ints, joined: date | None = None) -> pa.Table:
    """Build rows of raw_customers; `joined` is the registration date of those after the first delivery."""
    pool = pools(world.seed)
    home = weighted(world.bits("customers/country", numbers), COUNTRY_WEIGHTS)
    female = (world.bits("customers/gender", numbers) >> np.uint64(63)).astype(bool)
    given = np.where(
        female,
        _place(pool.women, home, world.bits("customers/given", numbers)),
        _place(pool.men, home, world.bits("customers/given", numbers)) + len(pool.women.words),
    )
    names = pool.women.words + pool.men.words
    family = _place(pool.families, home, world.bits("customers/family", numbers))
    company = below(world.bits("customers/company", numbers), world.corporates)
    employed = pa.array(below(world.bits("customers/employed", numbers), 100) < EMPLOYED_PERCENT)
    columns = {
        "customer_id": world.ids("C", numbers),
        "first_name": chosen(names, given),
        "last_name": chosen(pool.families.words, family),
        "email": _email(world, numbers, [names, pool.families.words], [given, family]),
        "gender": chosen(["M", "F"], female.astype(np.int64)),
        "age_group": chosen(AGES, weighted(world.bits("customers/age", numbers), [12, 28, 24, 18, 11, 7])),
        "country": chosen(COUNTRIES, _country(world, home, numbers, versions)),
        "registration_date": _registered(world, "customers", numbers, _CUSTOMERS_SINCE, joined),
        "customer_tier": chosen(TIERS, world.tiers(numbers, versions)),
        "risk_tolerance": chosen(RISKS, world.risks(numbers, versions)),
        "customer_type": pa.repeat("personal", len(numbers)),
        "company_id": _where(employed, world.ids("K", company)),
        "is_kyc_verified": pa.array(
            (below(world.bits("customers/kyc", numbers), 100) < VERIFIED_PERCENT) | (versions > 0)
        ),
    }
    return pa.table(columns)


def corporates(world: World, numbers: Ints, versions: Ints, joined: date | None = None) -> pa.Table:
    """Build rows of raw_corporates."""
    pool = pools(world.seed)
    home = weighted(world.bits("corporates/country", numbers), COUNTRY_WEIGHTS)
    family = _place(pool.families, home, world.bits("corporates/name", numbers))
    trade = below(world.bits("corporates/trade", numbers), len(TRADES))
    ending = _place(pool.endings, home, world.bits("corporates/ending", numbers))
    office = draw(world.seed, "corporates/office", (numbers + world.base) * 1_000 + versions)
    name, kind = chosen(pool.families.words, family), chosen(pool.endings.words, ending)
    columns = {
        "company_id": world.ids("K", numbers),
        "company_name": _joined([name, chosen(TRADES, trade), kind], " "),
        "company_type": kind,
        "company_email": _email(world, numbers, [pool.families.words, TRADES], [family, trade]),
        "country": chosen(COUNTRIES, home),
        "year_founded": pa.array(2020 - skewed(world.bits("corporates/founded", numbers), 120)),
        "tax_number": _joined(
            [chosen(COUNTRIES, home), labels("", below(world.bits("corporates/tax", numbers), 10**9))]
        ),
        "office_primary_location": chosen(pool.cities.words, _place(pool.cities, home, office)),
        "registration_date": _registered(world, "corporates", numbers, _CORPORATES_SINCE, joined),
    }
    return pa.table(columns)


def _place(pool: Pool, country: Ints, bits: Bits) -> Ints:
    return pool.starts[country] + below(bits, pool.sizes[country])


def _country(world: World, home: Ints, numbers: Ints, versions: Ints) -> Ints:
    """Move a customer on every fourth version, always to another country."""
    moves = versions // 4
    stride = 1 + below(world.bits("customers/move", numbers), len(COUNTRIES) - 1)
    return (home + moves * stride) % len(COUNTRIES)


def _registered(world: World, table: str, numbers: Ints, since: int, joined: date | None) -> pa.Array:
    days = since + below(world.bits(f"{table}/registered", numbers), _REGISTRATION_DAYS)
    if joined:
        first = world.customers if table == "customers" else world.corporates
        days = np.where(numbers < first, days, (joined - _EPOCH).days)
    return pa.array(days.astype(np.int32)).cast(pa.date32())


def _email(world: World, numbers: Ints, words: list[list[str]], places: list[Ints]) -> pa.Array:
    left, right = (chosen([plain(word) for word in pool], at) for pool, at in zip(words, places, strict=True))
    host = chosen(["example.com", "example.net", "example.org"], below(world.bits("email", numbers), 3))
    unique = pa.array(numbers + world.base).cast(pa.string())
    return _joined([_joined([left, right, unique], "."), host], "@")


def _joined(parts: list[pa.Array], between: str = "") -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, between)


def _where(mask: pa.Array, values: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.if_else(mask, values, pa.scalar(None, values.type))
