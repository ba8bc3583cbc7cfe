MODEL (
  name business.asset_price_day,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = (asset_hk, price_source, price_date)) /* a price's currency may be corrected: all of a day's go together */
  ),
  tags [prices],
  allow_partials TRUE,
  grain (asset_hk, price_source, quote_currency, price_date),
  audits (
    KEY_SOUND(key := (asset_hk, price_source, quote_currency, price_date), optional := (quote_currency, price_date)),
    SOURCES_AGREE()
  ),
  description 'The rule of a day''s price: per asset, source, quote currency and UTC date the mean of its prices and the last one, and its last volume with the unit of that'
);

WITH touched AS (
  SELECT DISTINCT asset_hk, price_source, price_date
  FROM marts.fct_asset_prices
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), prices AS (
  SELECT p.*
  FROM marts.fct_asset_prices AS p
  INNER JOIN touched AS t
    ON t.price_date = p.price_date
    AND t.asset_hk = p.asset_hk
    AND t.price_source = p.price_source
)
SELECT
  asset_hk,
  MAX(asset_symbol) AS asset_symbol,
  MAX(asset_type) AS asset_type,
  price_source,
  quote_currency,
  price_date,
  @mean(price) AS mean_price,
  ARG_MAX(price, CASE WHEN NOT price IS NULL THEN observed_at END) AS last_price,
  ARG_MAX(volume, CASE WHEN NOT volume IS NULL THEN observed_at END) AS last_volume,
  NULLIF(
    ARG_MAX(COALESCE(volume_unit, ''), CASE WHEN NOT volume IS NULL THEN observed_at END),
    ''
  ) AS volume_unit, /* of the same row: where that has none, none */
  COUNT(price) AS price_count,
  MAX(observed_at) AS last_observed_at,
  MAX(load_timestamp) AS load_timestamp,
  MAX(_load_id) AS _load_id,
  MAX(_arrived_at) AS _arrived_at,
  @key_bits(@row_hash(asset_hk, price_source, price_date::DATE)) AS _key
FROM prices
GROUP BY
  asset_hk, price_source, quote_currency, price_date
