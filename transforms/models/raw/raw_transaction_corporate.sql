MODEL (
  name raw.raw_transaction_corporate,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [transactions],
  description 'Transactions of companies; customer_id is the company''s id'
);

SELECT
  r.transaction_id::TEXT AS transaction_id,
  r.customer_id::TEXT AS customer_id,
  r.asset_type::TEXT AS asset_type,
  r.asset_symbol::TEXT AS asset_symbol,
  r.transaction_type::TEXT AS transaction_type,
  r.quantity::DECIMAL(38, 18) AS quantity,
  r.price_per_unit::DECIMAL(38, 18) AS price_per_unit,
  r.transaction_amount::DECIMAL(38, 18) AS transaction_amount,
  r.fee_amount::DECIMAL(38, 18) AS fee_amount,
  r.transaction_timestamp::TIMESTAMPTZ AS transaction_timestamp,
  r.data_date::DATE AS data_date,
  r.customer_tier::TEXT AS customer_tier,
  r.customer_risk_tolerance::TEXT AS customer_risk_tolerance,
  r.customer_type::TEXT AS customer_type,
  r.data_source::TEXT AS data_source,
  COALESCE(r.is_deleted::BOOLEAN, FALSE) AS is_deleted,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_transaction_corporate AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
