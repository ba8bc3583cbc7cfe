MODEL (
  name marts.dim_customer,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = customer_hk, ended = is_deleted)
  ),
  tags [customers],
  allow_partials TRUE,
  grain (customer_hk),
  audits (
    KEY_SOUND(key := customer_hk, required := customer_id, hubs := vault.hub_customer)
  ),
  description 'One row a customer that any feed names, as they are now; attributes are null until their profile arrives, and whom a source has deleted is not here'
);

WITH touched AS (
  SELECT customer_hk, _key
  FROM vault.hub_customer
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION
  SELECT customer_hk, _key
  FROM marts.dim_customer_history
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), hub AS (
  SELECT *
  FROM vault.hub_customer
  WHERE
    _key IN (SELECT _key FROM touched) AND customer_hk IN (SELECT customer_hk FROM touched)
), now AS (
  SELECT *
  FROM marts.dim_customer_history
  WHERE
    effective_to = '9999-12-31 00:00:00+00'::TIMESTAMPTZ
    AND _key IN (SELECT _key FROM touched)
    AND customer_hk IN (SELECT customer_hk FROM touched)
)
SELECT
  hub.customer_hk,
  hub.customer_id,
  NULLIF(TRIM(CONCAT(COALESCE(now.first_name, ''), ' ', COALESCE(now.last_name, ''))), '') AS customer_name,
  now.first_name,
  now.last_name,
  now.email,
  now.country,
  now.customer_tier,
  now.risk_tolerance,
  now.registration_date,
  now.is_kyc_verified,
  now.company_id,
  now.company_hk,
  now.effective_from AS changed_at,
  COALESCE(now.is_deleted, FALSE) AS is_deleted, /* such a row takes the customer's away and is not kept */
  COALESCE(now.record_source, hub.record_source) AS record_source,
  hub.load_timestamp, /* first seen */
  COALESCE(now._load_id, hub._load_id) AS _load_id,
  GREATEST(hub._arrived_at, COALESCE(now._arrived_at, hub._arrived_at)) AS _arrived_at,
  hub._key
FROM hub
LEFT JOIN now
  ON now.customer_hk = hub.customer_hk
