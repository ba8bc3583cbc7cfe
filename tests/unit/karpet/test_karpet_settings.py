"""The karpet block of pipelines.yaml."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sources.karpet.settings import KarpetSource
from sources.protocol import Asset


def test_what_it_extracts_and_costs() -> None:
    coins = [Asset("BTC", "crypto"), Asset("ETH", "crypto"), Asset("XYZ", "crypto", symbols={"karpet": ""})]
    (resource,) = KarpetSource(type="karpet").resources_of("karpet", {"crypto": coins})
    assert (resource.name, resource.table.name, resource.assets, resource.backfill) == (
        "news", "raw_news", "crypto", None,
    )  # fmt: skip
    assert resource.calls is not None
    assert (resource.calls.calls, resource.calls.per_minute) == (2, None)
    assert resource.carries is not None
    assert [resource.carries(coin) for coin in coins] == [True, True, False]


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"endpoint": "https://news.example/latest"}, "write {symbol} there"),
        ({"endpoint": "news.example/{symbol}"}, "web address"),
        ({"endpont": "https://news.example/{symbol}"}, "endpont"),
        ({"resources": {"news": {"limit": 0}}}, "greater than or equal to 1"),
    ],
)
def test_wrong_words_are_refused(block: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says.replace("{", r"\{").replace("}", r"\}")):
        KarpetSource.model_validate({"type": "karpet", **block})
