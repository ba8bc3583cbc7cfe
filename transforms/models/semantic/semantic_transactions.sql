MODEL (
  name semantic.semantic_transactions,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [semantic],
  grain (transaction_id),
  description 'Transactions as people ask about them: one row each, with who and what as they are now'
);

SELECT
  t.transaction_id,
  t.transaction_timestamp,
  t.transaction_date,
  t.transaction_type,
  t.asset_symbol,
  t.asset_type,
  t.asset_name,
  t.asset_category,
  t.quantity,
  t.price_per_unit,
  t.transaction_amount,
  t.fee_amount,
  t.net_amount,
  t.fee_percentage,
  t.customer_id,
  t.customer_type,
  t.customer_tier,
  t.risk_tolerance,
  COALESCE(t.country, company.country) AS country,
  company.company_name,
  t.customer_tier_at_trade,
  t.risk_tolerance_at_trade,
  t.data_quality
FROM marts.fct_transactions AS t
LEFT JOIN marts.dim_customer AS customer
  ON customer.customer_hk = t.customer_hk
LEFT JOIN marts.dim_company AS company
  ON company.company_hk = COALESCE(t.company_hk, customer.company_hk)
