MODEL (
  name raw.raw_customers,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [customers],
  description 'Customers; every change of one is a new delivery'
);

SELECT
  r.customer_id::TEXT AS customer_id,
  r.first_name::TEXT AS first_name,
  r.last_name::TEXT AS last_name,
  r.email::TEXT AS email,
  r.gender::TEXT AS gender,
  r.age_group::TEXT AS age_group,
  r.country::TEXT AS country,
  r.registration_date::DATE AS registration_date,
  r.customer_tier::TEXT AS customer_tier,
  r.risk_tolerance::TEXT AS risk_tolerance,
  r.customer_type::TEXT AS customer_type,
  r.company_id::TEXT AS company_id,
  r.is_kyc_verified::BOOLEAN AS is_kyc_verified,
  COALESCE(r.is_deleted::BOOLEAN, FALSE) AS is_deleted,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_customers AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
