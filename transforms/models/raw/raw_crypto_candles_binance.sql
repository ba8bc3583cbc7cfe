MODEL (
  name raw.raw_crypto_candles_binance,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [prices],
  description 'Candles of Binance; the newest one of a delivery may still be open'
);

SELECT
  r.symbol::TEXT AS symbol,
  r.base_currency::TEXT AS base_currency,
  r.quote_currency::TEXT AS quote_currency,
  r."interval"::TEXT AS "interval",
  r.open_time::TIMESTAMPTZ AS open_time,
  r."open"::DECIMAL(38, 18) AS "open",
  r.high::DECIMAL(38, 18) AS high,
  r.low::DECIMAL(38, 18) AS low,
  r."close"::DECIMAL(38, 18) AS "close",
  r.volume::DECIMAL(38, 18) AS volume,
  r.volume_unit::TEXT AS volume_unit,
  r.volume_quote::DECIMAL(38, 18) AS volume_quote,
  r.close_time::TIMESTAMPTZ AS close_time,
  r.trades::BIGINT AS trades,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_crypto_candles_binance AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
