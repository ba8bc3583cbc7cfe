MODEL (
  name raw.raw_cryptoprices_yfinance,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [prices],
  description 'Crypto bars of Yahoo Finance; price is the bar''s close'
);

SELECT
  r.symbol::TEXT AS symbol,
  r.base_currency::TEXT AS base_currency,
  r.quote_currency::TEXT AS quote_currency,
  r.price::DECIMAL(38, 18) AS price,
  r."open"::DECIMAL(38, 18) AS "open",
  r.high::DECIMAL(38, 18) AS high,
  r.low::DECIMAL(38, 18) AS low,
  r.volume::DECIMAL(38, 18) AS volume,
  r.volume_unit::TEXT AS volume_unit,
  r.observed_at::TIMESTAMPTZ AS observed_at,
  r."interval"::TEXT AS "interval",
  r.is_live::BOOLEAN AS is_live,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_cryptoprices_yfinance AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
