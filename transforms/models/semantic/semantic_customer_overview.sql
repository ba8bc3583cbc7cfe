MODEL (
  name semantic.semantic_customer_overview,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [semantic],
  grain (customer_id),
  description 'One row a customer, a person or a company, with the totals of all their transactions. Names and addresses are personal data'
);

SELECT
  c.customer_id,
  CASE
    WHEN NOT company.company_hk IS NULL OR t.corporate > 0 THEN 'corporate'
    WHEN NOT c.changed_at IS NULL OR t.personal > 0 THEN 'personal' /* a profile, or a trade as a person */
    ELSE 'unknown' /* named once, by a trade that was corrected since */
  END AS customer_type,
  c.customer_name,
  c.email AS email_addr,
  c.country,
  c.customer_tier,
  c.risk_tolerance,
  COALESCE(t.total_transactions, 0)::BIGINT AS total_transactions,
  COALESCE(t.total_transaction_amount, 0)::DECIMAL(38, 18) AS total_transaction_amount,
  COALESCE(t.total_fee_amount, 0)::DECIMAL(38, 18) AS total_fee_amount,
  t.last_transaction_at
FROM marts.dim_customer AS c
LEFT JOIN (
  SELECT
    customer_hk,
    COUNT(*) AS total_transactions,
    COUNT(CASE WHEN customer_type = 'corporate' THEN 1 END) AS corporate,
    COUNT(CASE WHEN customer_type = 'personal' THEN 1 END) AS personal,
    SUM(transaction_amount) AS total_transaction_amount,
    SUM(fee_amount) AS total_fee_amount,
    MAX(transaction_timestamp) AS last_transaction_at
  FROM business.transaction
  WHERE
    NOT is_deleted
  GROUP BY
    customer_hk
) AS t
  ON t.customer_hk = c.customer_hk
LEFT JOIN marts.dim_company AS company
  ON company.company_hk = c.customer_hk
