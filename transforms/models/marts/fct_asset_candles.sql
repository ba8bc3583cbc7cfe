MODEL (
  name marts.fct_asset_candles,
  kind CUSTOM (
    materialization 'keep_newest',
    materialization_properties (
      key = (asset_symbol, asset_type, price_source, quote_currency, "interval", open_time),
      newest = (load_timestamp, _version)
    )
  ),
  tags [prices],
  allow_partials TRUE,
  grain (asset_symbol, asset_type, price_source, quote_currency, "interval", open_time),
  audits (
    KEY_SOUND(key := (asset_symbol, asset_type, price_source, quote_currency, "interval", open_time), required := close),
    OHLC_SANE(),
    CANDLE_GRID()
  ),
  description 'Closed candles, one series an asset, source, quote currency and interval. A candle that was still open when it was delivered is left out until it is delivered closed.'
);

WITH delivered AS (
  SELECT base_currency AS symbol, 'crypto' AS asset_type, source, quote_currency,
    "interval", open_time, open, high, low, close, volume, volume_unit,
    close_time < load_timestamp AS is_closed, load_timestamp, _load_id, _arrived_at
  FROM raw.raw_crypto_candles_binance
  UNION ALL
  SELECT base_currency, 'crypto', source, quote_currency,
    "interval", observed_at, open, high, low, price, volume, volume_unit,
    NOT is_live, load_timestamp, _load_id, _arrived_at
  FROM raw.raw_cryptoprices_yfinance
  UNION ALL
  SELECT ticker, 'stock', source, COALESCE(currency, 'USD'),
    "interval", observed_at, open_price, high_price, low_price, close_price, volume, volume_unit,
    NOT is_live, load_timestamp, _load_id, _arrived_at
  FROM raw.raw_stockprices_yfinance
  UNION ALL
  SELECT symbol, asset_type, source, 'USD',
    "interval", open_time, open, high, low, close, volume,
    CASE WHEN @fold_lower(asset_type) = 'stock' THEN 'shares' ELSE 'base' END,
    TRUE, load_timestamp, _load_id, _arrived_at
  FROM raw.raw_history_ohlcv
), folded AS (
  SELECT
    *,
    @fold_upper(symbol) AS _symbol,
    @fold_lower(asset_type) AS _type,
    @text(source) AS _source,
    @text(quote_currency) AS _quote,
    @text("interval") AS _interval
  FROM delivered
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt AND is_closed AND NOT close IS NULL
), closed AS (
  SELECT
    _symbol::TEXT AS asset_symbol,
    _type::TEXT AS asset_type,
    _source::TEXT AS price_source,
    _quote::TEXT AS quote_currency,
    _interval::TEXT AS "interval",
    open_time::TIMESTAMPTZ AS open_time,
    open::DECIMAL(38, 18) AS open,
    high::DECIMAL(38, 18) AS high,
    low::DECIMAL(38, 18) AS low,
    close::DECIMAL(38, 18) AS close,
    volume::DECIMAL(38, 18) AS volume,
    volume_unit::TEXT AS volume_unit,
    load_timestamp::TIMESTAMPTZ AS load_timestamp,
    @row_hash(
      open::DECIMAL(38, 18), high::DECIMAL(38, 18), low::DECIMAL(38, 18), close::DECIMAL(38, 18),
      volume::DECIMAL(38, 18), volume_unit
    ) AS _version,
    _load_id::TEXT AS _load_id,
    _arrived_at::TIMESTAMPTZ AS _arrived_at,
    @key_bits(@row_hash(_symbol, _type, _source, _quote, _interval, open_time::TIMESTAMPTZ)) AS _key
  FROM folded
)
SELECT
  asset_symbol,
  asset_type,
  price_source,
  quote_currency,
  "interval",
  open_time,
  open,
  high,
  low,
  close,
  volume,
  volume_unit,
  load_timestamp,
  _version,
  _load_id,
  _arrived_at,
  _key
FROM closed
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY asset_symbol, asset_type, price_source, quote_currency, "interval", open_time
    ORDER BY load_timestamp DESC, _version DESC
  ) = 1
