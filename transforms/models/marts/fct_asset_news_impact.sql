MODEL (
  name marts.fct_asset_news_impact,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [news, prices],
  grain (news_hk, asset_hk),
  description 'What an asset''s price did around an article, in trading days of that asset: day 0 is the first trading day from the article''s date on. A day''s price is the mean over the sources that have one. Changes are in percent of the price before'
);

WITH placed AS (
  SELECT
    e.news_asset_hk,
    e.news_hk,
    e.asset_hk,
    e.url,
    e.asset_symbol,
    e.asset_type,
    e.published_date,
    e.title,
    MIN(d.trading_day) AS day_0
  FROM marts.fct_news_events AS e
  INNER JOIN business.asset_trading_day AS d
    ON d.asset_hk = e.asset_hk AND d.price_date >= e.published_date
  GROUP BY
    e.news_asset_hk, e.news_hk, e.asset_hk, e.url, e.asset_symbol, e.asset_type, e.published_date, e.title
)
SELECT
  p.news_asset_hk,
  p.news_hk,
  p.asset_hk,
  p.url,
  p.asset_symbol,
  p.asset_type,
  p.published_date,
  p.title,
  d0.price_date AS impact_date,
  d0.quote_currency,
  before.price AS price_before,
  d0.price AS price_day_0,
  d1.price AS price_day_1,
  d3.price AS price_day_3,
  d5.price AS price_day_5,
  (100 * @ratio(d0.price - before.price, before.price))::DECIMAL(38, 18) AS change_day_0_percent,
  (100 * @ratio(d1.price - before.price, before.price))::DECIMAL(38, 18) AS change_day_1_percent,
  (100 * @ratio(d3.price - before.price, before.price))::DECIMAL(38, 18) AS change_day_3_percent,
  (100 * @ratio(d5.price - before.price, before.price))::DECIMAL(38, 18) AS change_day_5_percent
FROM placed AS p
INNER JOIN business.asset_trading_day AS d0
  ON d0.asset_hk = p.asset_hk AND d0.trading_day = p.day_0
LEFT JOIN business.asset_trading_day AS before
  ON before.asset_hk = p.asset_hk AND before.trading_day = p.day_0 - 1 AND before.quote_currency = d0.quote_currency
LEFT JOIN business.asset_trading_day AS d1
  ON d1.asset_hk = p.asset_hk AND d1.trading_day = p.day_0 + 1 AND d1.quote_currency = d0.quote_currency
LEFT JOIN business.asset_trading_day AS d3
  ON d3.asset_hk = p.asset_hk AND d3.trading_day = p.day_0 + 3 AND d3.quote_currency = d0.quote_currency
LEFT JOIN business.asset_trading_day AS d5
  ON d5.asset_hk = p.asset_hk AND d5.trading_day = p.day_0 + 5 AND d5.quote_currency = d0.quote_currency
