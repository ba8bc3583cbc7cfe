"""Pools of names, cities and company endings, drawn once from Faker for each country."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from faker import Faker

from sources.faker.draws import Ints

LOCALES = {
    "US": "en_US", "GB": "en_GB", "DE": "de_DE", "FR": "fr_FR", "NL": "nl_NL", "IT": "it_IT",
    "ES": "es_ES", "PL": "pl_PL", "SE": "sv_SE", "BR": "pt_BR", "VN": "vi_VN",
}  # fmt: skip
"""Countries and where their names come from."""
COUNTRIES = list(LOCALES)
COUNTRY_WEIGHTS = [30, 12, 10, 8, 6, 6, 6, 5, 4, 6, 7]
NAMES = 150
CITIES = 60
_PROVIDERS = [f"faker.providers.{name}" for name in ("person", "company", "address")]
_LETTERS = str.maketrans({"đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "ß": "ss", "æ": "ae", "œ": "oe"})


@dataclass(frozen=True)
class Pool:
    """Words of all countries in one list; a country's words lie at starts[country] .. + sizes[country]."""

    words: list[str]
    starts: Ints
    sizes: Ints

    @classmethod
    def of(cls, by_country: list[list[str]]) -> Pool:
        """Join one list a country."""
        sizes = np.array([len(words) for words in by_country], dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        return cls([word for words in by_country for word in words], starts, sizes)


@dataclass(frozen=True)
class Pools:
    """What the tables draw from."""

    women: Pool
    men: Pool
    families: Pool
    cities: Pool
    endings: Pool


@lru_cache(maxsize=2)
def pools(seed: int) -> Pools:
    """Draw the pools of a seed (about half a second)."""
    women, men, families, cities, endings = [], [], [], [], []
    for locale in LOCALES.values():
        fake = Faker(locale, providers=_PROVIDERS)
        fake.seed_instance(seed)
        women.append(_distinct(fake.first_name_female() for _ in range(NAMES)))
        men.append(_distinct(fake.first_name_male() for _ in range(NAMES)))
        families.append(_distinct(fake.last_name() for _ in range(NAMES)))
        cities.append(_distinct(fake.city() for _ in range(CITIES)))
        endings.append(_distinct(fake.company_suffix() for _ in range(20)))
    return Pools(Pool.of(women), Pool.of(men), Pool.of(families), Pool.of(cities), Pool.of(endings))


def _distinct(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(unicodedata.normalize("NFC", word) for word in words))


def plain(word: str) -> str:
    """Write a name with the letters of an e-mail address."""
    text = unicodedata.normalize("NFKD", word.translate(_LETTERS)).encode("ascii", "ignore").decode().lower()
    return "".join(char for char in text if char.isalnum()) or "x"
