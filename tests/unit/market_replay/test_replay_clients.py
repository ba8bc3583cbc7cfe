"""The real client libraries read the replay: yfinance through a session adapter, karpet through its session."""

from __future__ import annotations

import pytest


@pytest.fixture
def yfinance(tmp_path, web, monkeypatch):
    module = pytest.importorskip("yfinance")
    from yfinance import cache
    from yfinance.data import YfData

    # a cache that was opened keeps its first folder, which goes with the test that made it
    monkeypatch.setattr(cache._TzCacheManager, "_tz_cache", None)
    monkeypatch.setattr(cache._CookieCacheManager, "_Cookie_cache", None)
    monkeypatch.setattr(cache._ISINCacheManager, "_isin_cache", None)
    module.set_tz_cache_location(str(tmp_path))
    shown = module.config.debug.hide_exceptions
    module.config.debug.hide_exceptions = False
    yield module
    module.config.debug.hide_exceptions = shown
    # one instance lives per process: nothing of this test may stay in it
    type(YfData)._instances.clear()
    YfData.cache_get.cache_clear()


def test_yfinance_history_is_what_the_chart_says(yfinance, web):
    frame = yfinance.Ticker("AVGO", session=web).history(period="1y", auto_adjust=False, actions=True)
    url = "https://query2.finance.yahoo.com/v8/finance/chart/AVGO"
    result = web.get(url, params={"range": "1y", "interval": "1d", "events": "div"}).json()["chart"]["result"][0]
    quote = result["indicators"]["quote"][0]
    for column, name in (("Open", "open"), ("High", "high"), ("Low", "low"), ("Close", "close"), ("Volume", "volume")):
        assert frame[column].tolist() == quote[name]
    assert frame["Adj Close"].tolist() == result["indicators"]["adjclose"][0]["adjclose"]
    assert (frame["Dividends"] > 0).sum() == 4
    assert str(frame.index.tz) == "America/New_York"


def test_yfinance_reads_hours_of_a_range_and_a_coin_s_days(yfinance, web):
    hours = yfinance.Ticker("MSFT", session=web).history(start="2026-05-11", end="2026-05-16", interval="1h")
    assert len(hours) == 5 * 7
    coin = yfinance.Ticker("BTC-USD", session=web).history(start="2026-05-01", end="2026-05-11", auto_adjust=False)
    assert len(coin) == 10
    assert str(coin.index.tz) == "UTC"


def test_yfinance_reads_company_facts(yfinance, web):
    ticker = yfinance.Ticker("MSFT", session=web)
    info = ticker.info
    assert info["quoteType"] == "EQUITY"
    assert info["longName"]
    assert info["sector"]
    price = info["regularMarketPrice"]
    assert info["marketCap"] == pytest.approx(price * info["sharesOutstanding"], rel=1e-6)
    fast = ticker.fast_info
    assert fast["lastPrice"] == pytest.approx(price, rel=1e-4)
    assert fast["shares"] == info["sharesOutstanding"]
    assert fast["timezone"] == "America/New_York"


def test_yfinance_says_that_an_unknown_symbol_has_no_prices(yfinance, web, replay):
    with pytest.raises(Exception, match="NOPE"):
        yfinance.Ticker("NOPE", session=web).history(period="5d")
    assert {item.status for item in replay.requests if item.path.endswith("/chart/NOPE")} == {404}


def test_karpet_fetches_news_and_their_pages(web):
    karpet = pytest.importorskip("karpet")

    class Redirected(karpet.Karpet):
        def get_session(self, use_cloudscraper=False):  # noqa: ARG002, FBT002 - karpet's signature
            return web

    news = Redirected().fetch_news("BTC", limit=10)
    listed = web.get("https://coincodex.com/api/coincodexicos/get_news/BTC/10/1/").json()
    assert 5 <= len(news) == len(listed) <= 10
    assert [item["title"] for item in news] == [item["title"] for item in listed]
    assert [item["date"].isoformat() for item in news] == [item["date"] for item in listed]
    assert all("simulated" in item["description"] for item in news)


def test_news_appear_as_time_passes_and_stay_the_same(web, replay):
    url = "https://coincodex.com/api/coincodexicos/get_news/ETH/10/1/"
    before = web.get(url).json()
    replay.advance(86_400)
    after = web.get(url).json()
    assert after[0] not in before
    assert before[0] in after
    assert web.get("https://coincodex.com/api/coincodexicos/get_news/NOPE/10/1/").json() == []
