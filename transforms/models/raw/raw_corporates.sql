MODEL (
  name raw.raw_corporates,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [customers],
  description 'Companies'
);

SELECT
  r.company_id::TEXT AS company_id,
  r.company_name::TEXT AS company_name,
  r.company_type::TEXT AS company_type,
  r.company_email::TEXT AS company_email,
  r.country::TEXT AS country,
  r.year_founded::BIGINT AS year_founded,
  r.tax_number::TEXT AS tax_number,
  r.office_primary_location::TEXT AS office_primary_location,
  r.registration_date::DATE AS registration_date,
  COALESCE(r.is_deleted::BOOLEAN, FALSE) AS is_deleted,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_corporates AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
