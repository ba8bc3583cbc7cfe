MODEL (
  name business.asset_trading_day,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [prices, news],
  grain (asset_hk, price_date),
  description 'The rule of a trading day: a UTC date on which an asset has a price, numbered in order; its price is the mean of the sources'' last prices, in US dollars where one has them'
);

SELECT
  asset_hk,
  quote_currency,
  price_date,
  @mean(last_price) AS price,
  ROW_NUMBER() OVER (PARTITION BY asset_hk ORDER BY price_date) AS trading_day
FROM (
  SELECT
    *,
    RANK() OVER (
      PARTITION BY asset_hk, price_date
      ORDER BY CASE WHEN quote_currency = 'USD' THEN 0 ELSE 1 END, quote_currency
    ) AS preference
  FROM business.asset_price_day
  WHERE
    NOT last_price IS NULL AND NOT price_date IS NULL
) AS days
WHERE
  preference = 1
GROUP BY
  asset_hk, quote_currency, price_date
