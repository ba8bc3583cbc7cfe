MODEL (
  name semantic.semantic_asset_performance,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [semantic],
  grain (asset_symbol, asset_type, price_date, price_source),
  description 'One row an asset, UTC date and source: the last price of the day, in US dollars where the source has them, and the last volume with its unit'
);

SELECT
  d.asset_symbol,
  d.asset_type,
  d.price_date,
  d.price_source,
  d.last_price AS price,
  d.last_volume AS volume,
  d.volume_unit,
  d.quote_currency,
  d.last_observed_at,
  a.asset_name,
  a.asset_category
FROM business.asset_price_day AS d
LEFT JOIN marts.dim_asset AS a
  ON a.asset_hk = d.asset_hk
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY d.asset_hk, d.price_source, d.price_date
    ORDER BY CASE WHEN d.quote_currency = 'USD' THEN 0 ELSE 1 END, d.quote_currency
  ) = 1
