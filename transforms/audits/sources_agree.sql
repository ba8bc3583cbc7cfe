/* On the days that new prices belong to, the sources of one asset and quote currency differ by at most
   @threshold_bps basis points of their mean. */
AUDIT (
  name sources_agree,
  defaults (threshold_bps = 500),
  blocking FALSE
);

WITH touched AS (
  SELECT DISTINCT asset_hk, quote_currency, price_date
  FROM @this_model
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), compared AS (
  SELECT
    d.asset_hk,
    MAX(d.asset_symbol) AS asset_symbol,
    d.quote_currency,
    d.price_date,
    MAX(d.mean_price)::DOUBLE - MIN(d.mean_price)::DOUBLE AS spread,
    AVG(d.mean_price::DOUBLE) AS middle /* a threshold needs no exact arithmetic */
  FROM @this_model AS d
  INNER JOIN touched AS t
    ON t.price_date = d.price_date AND t.asset_hk = d.asset_hk AND t.quote_currency = d.quote_currency
  GROUP BY
    d.asset_hk, d.quote_currency, d.price_date
)
SELECT
  'sources differ by ' || CAST(ROUND(10000 * spread / middle) AS TEXT) || ' basis points' AS problem,
  asset_symbol,
  quote_currency,
  price_date
FROM compared
WHERE
  middle > 0 AND 10000 * spread > @threshold_bps * middle
