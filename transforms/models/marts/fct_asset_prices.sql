MODEL (
  name marts.fct_asset_prices,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = (asset_hk, price_source, observed_at, _series))
  ),
  tags [prices],
  allow_partials TRUE,
  grain (asset_hk, price_source, quote_currency, observed_at),
  audits (
    KEY_SOUND(key := (asset_hk, price_source, quote_currency, observed_at), optional := (quote_currency, observed_at)),
    PRICES_FRESH()
  ),
  description 'One row an asset, source, quote currency and instant: what the source said last of it. Prices are in quote_currency, volumes in volume_unit'
);

WITH said AS (
  SELECT
    asset_hk, asset_symbol, asset_type, record_source, quote_currency, quote_currency AS _series,
    observed_at, price, volume, volume_unit, load_timestamp, hashdiff, _load_id, _arrived_at, _key
  FROM vault.sat_asset_price_crypto
  WHERE
    _key IN (SELECT _key FROM vault.sat_asset_price_crypto WHERE _arrived_at BETWEEN @start_dt AND @end_dt)
  UNION ALL
  SELECT
    asset_hk, asset_symbol, asset_type, record_source, COALESCE(currency, 'USD'), NULL,
    observed_at, close_price, volume, COALESCE(volume_unit, 'shares'), load_timestamp, hashdiff, _load_id, _arrived_at, _key
  FROM vault.sat_asset_price_stock
  WHERE
    _key IN (SELECT _key FROM vault.sat_asset_price_stock WHERE _arrived_at BETWEEN @start_dt AND @end_dt)
)
SELECT
  asset_hk,
  asset_symbol,
  asset_type,
  record_source AS price_source,
  quote_currency,
  observed_at,
  (observed_at AT TIME ZONE 'UTC')::DATE AS price_date, /* the UTC date of the instant */
  price,
  volume,
  volume_unit,
  load_timestamp,
  _series,
  _load_id,
  MAX(_arrived_at) OVER (PARTITION BY asset_hk, record_source, observed_at, _series) AS _arrived_at,
  _key
FROM said
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY asset_hk, record_source, observed_at, _series
    ORDER BY load_timestamp DESC, hashdiff DESC
  ) = 1
