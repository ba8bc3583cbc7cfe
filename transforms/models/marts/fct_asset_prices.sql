MODEL (
  name marts.fct_asset_prices,
  kind INCREMENTAL_BY_UNIQUE_KEY (
    unique_key (asset_symbol, asset_type, price_source, quote_currency, observed_at)
  ),
  tags [prices],
  allow_partials TRUE,
  grain (asset_symbol, asset_type, price_source, quote_currency, observed_at),
  audits (
    NOT_NULL(
      columns := (asset_symbol, asset_type, price_source, quote_currency, observed_at, price),
      condition := arrived_at BETWEEN @start_dt AND @end_dt /* what this run brought */
    ),
    UNIQUE_COMBINATION_OF_COLUMNS(
      columns := (asset_symbol, asset_type, price_source, quote_currency, observed_at)
    )
  ),
  description 'One row an asset, source, quote currency and instant: the price as last delivered. Prices are in quote_currency, volumes in volume_unit.'
);

WITH delivered AS (
  SELECT UPPER(base_currency) AS asset_symbol, 'crypto' AS asset_type, source AS price_source, quote_currency,
    observed_at, price, volume, volume_unit, load_timestamp, _load_id, arrived_at
  FROM raw.raw_cryptoprices_binance
  UNION ALL
  SELECT UPPER(base_currency), 'crypto', source, quote_currency,
    observed_at, price, volume, volume_unit, load_timestamp, _load_id, arrived_at
  FROM raw.raw_cryptoprices_coingecko
  UNION ALL
  SELECT UPPER(base_currency), 'crypto', source, quote_currency,
    observed_at, price, volume, volume_unit, load_timestamp, _load_id, arrived_at
  FROM raw.raw_cryptoprices_freecryptoapi
  UNION ALL
  SELECT UPPER(base_currency), 'crypto', source, quote_currency,
    observed_at, price, volume, volume_unit, load_timestamp, _load_id, arrived_at
  FROM raw.raw_cryptoprices_yfinance
  UNION ALL
  SELECT UPPER(ticker), 'stock', source, COALESCE(currency, 'USD'),
    observed_at, close_price, volume, volume_unit, load_timestamp, _load_id, arrived_at
  FROM raw.raw_stockprices_yfinance
)
SELECT
  asset_symbol::TEXT AS asset_symbol,
  asset_type::TEXT AS asset_type,
  price_source::TEXT AS price_source,
  quote_currency::TEXT AS quote_currency,
  observed_at::TIMESTAMPTZ AS observed_at,
  (observed_at AT TIME ZONE 'UTC')::DATE AS price_date, /* the UTC date of the instant */
  price::DECIMAL(38, 18) AS price,
  volume::DECIMAL(38, 18) AS volume,
  volume_unit::TEXT AS volume_unit,
  load_timestamp::TIMESTAMPTZ AS load_timestamp,
  _load_id::TEXT AS _load_id,
  arrived_at::TIMESTAMPTZ AS arrived_at
FROM delivered
WHERE
  arrived_at BETWEEN @start_dt AND @end_dt AND NOT price IS NULL
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY asset_symbol, asset_type, price_source, quote_currency, observed_at
    ORDER BY arrived_at DESC, load_timestamp DESC, price DESC
  ) = 1
