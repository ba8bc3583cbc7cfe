/* A candle's high is its highest and its low its lowest price. What a source delivers otherwise is kept, and told. */
AUDIT (
  name ohlc_sane,
  blocking FALSE
);

SELECT
  CASE
    WHEN high < low THEN 'high below low'
    WHEN high < open OR high < close THEN 'high is not the highest'
    ELSE 'low is not the lowest'
  END AS problem,
  asset_symbol,
  asset_type,
  price_source,
  quote_currency,
  "interval",
  open_time
FROM @this_model
WHERE
  _arrived_at BETWEEN @start_dt AND @end_dt
  AND (
    high < low OR high < open OR high < close OR low > open OR low > close
  )
