MODEL (
  name marts.fct_asset_price_comparison,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [prices],
  grain (asset_hk, quote_currency, price_date),
  description 'The sources side by side: one row an asset, quote currency and UTC date with each source''s mean price of the day, their spread (highest less lowest) and, in basis points, the spread divided by their mean. Only prices of one quote currency are compared: USDT never beside USD'
);

SELECT
  asset_hk,
  asset_symbol,
  asset_type,
  quote_currency,
  price_date,
  price_binance,
  price_coingecko,
  price_yfinance,
  price_freecryptoapi,
  source_count,
  mean_price,
  price_spread,
  (10000 * @ratio(price_spread, mean_price))::DECIMAL(38, 18) AS deviation_bps
FROM (
  SELECT
    asset_hk,
    MAX(asset_symbol) AS asset_symbol,
    MAX(asset_type) AS asset_type,
    quote_currency,
    price_date,
    MAX(CASE WHEN LOWER(price_source) = 'binance' THEN mean_price END) AS price_binance,
    MAX(CASE WHEN LOWER(price_source) = 'coingecko' THEN mean_price END) AS price_coingecko,
    MAX(CASE WHEN LOWER(price_source) = 'yfinance' THEN mean_price END) AS price_yfinance,
    MAX(CASE WHEN LOWER(price_source) = 'freecryptoapi' THEN mean_price END) AS price_freecryptoapi,
    COUNT(mean_price) AS source_count,
    @mean(mean_price) AS mean_price,
    (MAX(mean_price) - MIN(mean_price))::DECIMAL(38, 18) AS price_spread
  FROM business.asset_price_day
  GROUP BY
    asset_hk, quote_currency, price_date
) AS compared
