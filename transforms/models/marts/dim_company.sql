MODEL (
  name marts.dim_company,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = company_hk, ended = is_deleted)
  ),
  tags [customers],
  allow_partials TRUE,
  grain (company_hk),
  audits (
    KEY_SOUND(key := company_hk, required := company_id, hubs := vault.hub_company)
  ),
  description 'One row a company that any feed names, as it is now; attributes are null until its details arrive, and what a source has deleted is not here'
);

WITH touched AS (
  SELECT company_hk, _key
  FROM vault.hub_company
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION
  SELECT company_hk, _key
  FROM vault.sat_company_details
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), hub AS (
  SELECT *
  FROM vault.hub_company
  WHERE
    _key IN (SELECT _key FROM touched) AND company_hk IN (SELECT company_hk FROM touched)
), now AS (
  SELECT *
  FROM vault.sat_company_details
  WHERE
    _key IN (SELECT _key FROM touched) AND company_hk IN (SELECT company_hk FROM touched)
  QUALIFY
    ROW_NUMBER() OVER (PARTITION BY company_hk ORDER BY load_timestamp DESC, is_deleted DESC, record_source DESC) = 1
)
SELECT
  hub.company_hk,
  hub.company_id,
  now.company_name,
  now.company_type,
  now.company_email,
  now.country,
  now.year_founded,
  now.tax_number,
  now.office_primary_location,
  now.registration_date,
  now.load_timestamp AS changed_at,
  COALESCE(now.is_deleted, FALSE) AS is_deleted, /* such a row takes the company's away and is not kept */
  COALESCE(now.record_source, hub.record_source) AS record_source,
  hub.load_timestamp, /* first seen */
  COALESCE(now._load_id, hub._load_id) AS _load_id,
  GREATEST(hub._arrived_at, COALESCE(now._arrived_at, hub._arrived_at)) AS _arrived_at,
  hub._key
FROM hub
LEFT JOIN now
  ON now.company_hk = hub.company_hk
