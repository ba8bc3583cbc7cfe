MODEL (
  name raw.raw_history_ohlcv,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [prices],
  description 'Historical candles from files'
);

SELECT
  r.symbol::TEXT AS symbol,
  r.asset_type::TEXT AS asset_type,
  r."interval"::TEXT AS "interval",
  r.open_time::TIMESTAMPTZ AS open_time,
  r."open"::DECIMAL(38, 18) AS "open",
  r.high::DECIMAL(38, 18) AS high,
  r.low::DECIMAL(38, 18) AS low,
  r."close"::DECIMAL(38, 18) AS "close",
  r.volume::DECIMAL(38, 18) AS volume,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_history_ohlcv AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
