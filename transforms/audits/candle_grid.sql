/* No candle is missing before a new one: crypto trades without a pause, stocks pause for at most @stock_days days.
   Yahoo sends a bar without any price now and then, which is left out: one missing bar of it is none to tell.
   A new candle is compared with those that came with it and those of the last @recent_days days. */
AUDIT (
  name candle_grid,
  defaults (stock_days = 7, recent_days = 40),
  blocking FALSE
);

WITH candles AS (
  SELECT asset_symbol, asset_type, price_source, quote_currency, "interval", open_time, TRUE AS is_new
  FROM @this_model
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT asset_symbol, asset_type, price_source, quote_currency, "interval", open_time, FALSE AS is_new
  FROM @this_model
  WHERE
    open_time >= @end_dt::TIMESTAMPTZ - INTERVAL @recent_days DAY
    AND NOT _arrived_at BETWEEN @start_dt AND @end_dt
), steps AS (
  SELECT
    *,
    LAG(open_time) OVER (
      PARTITION BY asset_symbol, asset_type, price_source, quote_currency, "interval"
      ORDER BY open_time
    ) AS previous,
    CASE
      WHEN asset_type = 'stock' THEN 86400 * @stock_days
      WHEN "interval" = '1m' THEN 60
      WHEN "interval" = '5m' THEN 300
      WHEN "interval" = '15m' THEN 900
      WHEN "interval" = '30m' THEN 1800
      WHEN "interval" = '1h' THEN 3600
      WHEN "interval" = '4h' THEN 14400
      WHEN "interval" = '1d' THEN 86400
    END AS step_seconds /* null: an interval with no fixed grid, or one nobody has declared here */
  FROM candles
)
SELECT
  'candles are missing before this one' AS problem,
  asset_symbol,
  asset_type,
  price_source,
  quote_currency,
  "interval",
  open_time
FROM steps
WHERE
  is_new
  AND DATE_DIFF('second', previous, open_time)
  > step_seconds * CASE WHEN asset_type = 'crypto' AND price_source = 'yfinance' THEN 2 ELSE 1 END
