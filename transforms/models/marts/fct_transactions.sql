MODEL (
  name marts.fct_transactions,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [transactions],
  grain (transaction_hk),
  description 'One row a transaction: keys, amounts and what held at trade time, with the current attributes of its customer and asset beside them; those that a source has deleted are not here'
);

SELECT
  t.transaction_hk,
  t.transaction_id,
  t.customer_hk,
  t.company_hk,
  t.asset_hk,
  t.customer_id,
  t.asset_symbol,
  t.asset_type,
  t.transaction_type,
  t.quantity,
  t.price_per_unit,
  t.transaction_amount,
  t.fee_amount,
  t.net_amount,
  t.fee_percentage,
  t.customer_type,
  t.customer_tier_at_trade,
  t.risk_tolerance_at_trade,
  t.transaction_timestamp,
  t.transaction_date,
  t.transaction_year,
  t.transaction_quarter,
  t.transaction_month,
  t.transaction_day,
  t.transaction_weekday,
  t.transaction_hour,
  c.customer_tier,
  c.risk_tolerance,
  c.country,
  a.asset_name,
  a.asset_category,
  a.market_cap,
  t.data_quality,
  t.record_source,
  t.load_timestamp,
  t._load_id,
  t._arrived_at
FROM business.transaction AS t
LEFT JOIN marts.dim_customer AS c
  ON c.customer_hk = t.customer_hk
LEFT JOIN marts.dim_asset AS a
  ON a.asset_hk = t.asset_hk
WHERE
  NOT t.is_deleted
