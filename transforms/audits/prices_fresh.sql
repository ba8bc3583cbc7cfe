/* Prices that arrive are of today: a source that delivers has prices of the last @days days (weekends and holidays are
   shorter), and no other price table has waited longer than that. Where nothing arrives at all no audit runs:
   `engine status` shows how old each table is. */
AUDIT (
  name prices_fresh,
  defaults (days = 5),
  blocking FALSE
);

WITH delivered AS (
  SELECT asset_type, price_source, MAX(observed_at) AS newest
  FROM @this_model
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  GROUP BY
    asset_type, price_source
), recent AS (
  SELECT DISTINCT asset_type, price_source
  FROM @this_model
  WHERE
    observed_at >= @end_dt::TIMESTAMPTZ - INTERVAL @days DAY
)
SELECT
  'the newest price delivered is of ' || CAST(delivered.newest::DATE AS TEXT) AS problem,
  NULL AS look_in,
  delivered.asset_type,
  delivered.price_source,
  NULL AS table_name
FROM delivered
LEFT JOIN recent
  ON recent.asset_type = delivered.asset_type AND recent.price_source = delivered.price_source
WHERE
  recent.price_source IS NULL
UNION ALL
SELECT
  table_name || ': nothing has arrived since ' || CAST(MAX(arrived_at)::DATE AS TEXT) AS problem,
  'landing._packages' AS look_in,
  NULL AS asset_type,
  NULL AS price_source,
  table_name
FROM landing._packages
WHERE
  table_name LIKE 'raw_cryptoprices%' OR table_name LIKE 'raw_stockprices%'
GROUP BY
  table_name
HAVING
  MAX(arrived_at) < @end_dt::TIMESTAMPTZ - INTERVAL @days DAY
