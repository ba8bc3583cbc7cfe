MODEL (
  name stage.company,
  kind CUSTOM (
    materialization 'replace_arrived'
  ),
  tags [customers],
  allow_partials TRUE,
  description 'Every delivery of a company: keys folded and hashed, texts trimmed'
);

SELECT
  @hash_key(company_id) AS company_hk,
  company_id,
  company_name,
  company_type,
  company_email,
  country,
  year_founded,
  tax_number,
  office_primary_location,
  registration_date,
  is_deleted,
  load_timestamp,
  record_source,
  _load_id,
  _arrived_at,
  @key_bits(@hash_key(company_id)) AS _key
FROM (
  SELECT
    @fold_upper(company_id) AS company_id,
    @text(company_name) AS company_name,
    @text(company_type) AS company_type,
    @text(company_email) AS company_email,
    @text(country) AS country,
    year_founded,
    @text(tax_number) AS tax_number,
    @text(office_primary_location) AS office_primary_location,
    registration_date,
    is_deleted,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_corporates
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
) AS delivered
