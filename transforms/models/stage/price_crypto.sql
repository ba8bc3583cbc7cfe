MODEL (
  name stage.price_crypto,
  kind CUSTOM (
    materialization 'replace_arrived'
  ),
  tags [prices],
  allow_partials TRUE,
  description 'Every delivery of a crypto price, of all sources: keys folded and hashed, texts trimmed'
);

SELECT
  @hash_key(asset_symbol, asset_type) AS asset_hk,
  asset_symbol,
  asset_type,
  symbol,
  base_currency,
  quote_currency,
  price,
  volume,
  volume_unit,
  observed_at,
  load_timestamp,
  record_source,
  _load_id,
  _arrived_at,
  @key_bits(@row_hash(asset_symbol, asset_type, quote_currency, observed_at::TIMESTAMPTZ)) AS _key
FROM (
  SELECT
    @fold_upper(base_currency) AS asset_symbol,
    'crypto' AS asset_type,
    @text(symbol) AS symbol,
    @text(base_currency) AS base_currency,
    @text(quote_currency) AS quote_currency,
    price,
    volume,
    @text(volume_unit) AS volume_unit,
    observed_at,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_cryptoprices_binance
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT
    @fold_upper(base_currency) AS asset_symbol,
    'crypto' AS asset_type,
    @text(symbol) AS symbol,
    @text(base_currency) AS base_currency,
    @text(quote_currency) AS quote_currency,
    price,
    volume,
    @text(volume_unit) AS volume_unit,
    observed_at,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_cryptoprices_coingecko
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT
    @fold_upper(base_currency) AS asset_symbol,
    'crypto' AS asset_type,
    @text(symbol) AS symbol,
    @text(base_currency) AS base_currency,
    @text(quote_currency) AS quote_currency,
    price,
    volume,
    @text(volume_unit) AS volume_unit,
    observed_at,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_cryptoprices_yfinance
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT
    @fold_upper(base_currency) AS asset_symbol,
    'crypto' AS asset_type,
    @text(symbol) AS symbol,
    @text(base_currency) AS base_currency,
    @text(quote_currency) AS quote_currency,
    price,
    volume,
    @text(volume_unit) AS volume_unit,
    observed_at,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_cryptoprices_freecryptoapi
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
) AS delivered
