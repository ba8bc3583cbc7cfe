MODEL (
  name marts.dim_customer_history,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = customer_hk)
  ),
  tags [customers],
  allow_partials TRUE,
  grain (customer_hk, effective_from),
  audits (
    KEY_SOUND(key := (customer_hk, effective_from), required := (customer_id, effective_to, is_current, is_deleted)),
    HISTORY_SOUND()
  ),
  description 'Customers through time (SCD type 2): one row from each change of any source to the next, without gap or overlap; the current one ends in 9999. From a deletion on a row says is_deleted, and none is current'
);

WITH touched AS (
  SELECT DISTINCT customer_hk, _key
  FROM vault.sat_customer_profile
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), versions AS (
  SELECT *
  FROM vault.sat_customer_profile
  WHERE
    _key IN (SELECT _key FROM touched) AND customer_hk IN (SELECT customer_hk FROM touched)
  QUALIFY
    ROW_NUMBER() OVER (PARTITION BY customer_hk, load_timestamp ORDER BY is_deleted DESC, record_source DESC) = 1
)
SELECT
  customer_hk,
  customer_id,
  first_name,
  last_name,
  email,
  country,
  customer_tier,
  risk_tolerance,
  registration_date,
  is_kyc_verified,
  company_id,
  @hash_key(company_id) AS company_hk,
  load_timestamp AS effective_from,
  COALESCE(
    LEAD(load_timestamp) OVER (PARTITION BY customer_hk ORDER BY load_timestamp),
    '9999-12-31 00:00:00+00'::TIMESTAMPTZ
  ) AS effective_to,
  LEAD(load_timestamp) OVER (PARTITION BY customer_hk ORDER BY load_timestamp) IS NULL AND NOT is_deleted AS is_current,
  is_deleted,
  record_source,
  _load_id,
  MAX(_arrived_at) OVER (PARTITION BY customer_hk) AS _arrived_at,
  _key
FROM versions
