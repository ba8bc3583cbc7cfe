MODEL (
  name raw.raw_stockprices_yfinance,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [prices],
  description 'Stock bars of Yahoo Finance with the company''s facts; prices in `currency`'
);

SELECT
  r.ticker::TEXT AS ticker,
  r.symbol::TEXT AS symbol,
  r."date"::DATE AS "date",
  r.open_price::DECIMAL(38, 18) AS open_price,
  r.high_price::DECIMAL(38, 18) AS high_price,
  r.low_price::DECIMAL(38, 18) AS low_price,
  r.close_price::DECIMAL(38, 18) AS close_price,
  r.adj_close_price::DECIMAL(38, 18) AS adj_close_price,
  r.volume::DECIMAL(38, 18) AS volume,
  r.volume_unit::TEXT AS volume_unit,
  r.dividends::DECIMAL(38, 18) AS dividends,
  r.stock_splits::DECIMAL(38, 18) AS stock_splits,
  r.company_name::TEXT AS company_name,
  r.sector::TEXT AS sector,
  r.industry::TEXT AS industry,
  r.market_cap::DECIMAL(38, 18) AS market_cap,
  r.pe_ratio::DECIMAL(38, 18) AS pe_ratio,
  r.week_52_high::DECIMAL(38, 18) AS week_52_high,
  r.week_52_low::DECIMAL(38, 18) AS week_52_low,
  r.avg_volume::DECIMAL(38, 18) AS avg_volume,
  r.currency::TEXT AS currency,
  r.observed_at::TIMESTAMPTZ AS observed_at,
  r."interval"::TEXT AS "interval",
  r.is_live::BOOLEAN AS is_live,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_stockprices_yfinance AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
