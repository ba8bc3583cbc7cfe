MODEL (
  name stage.customer,
  kind CUSTOM (
    materialization 'replace_arrived'
  ),
  tags [customers],
  allow_partials TRUE,
  description 'Every delivery of a customer: keys folded and hashed, texts trimmed'
);

SELECT
  @hash_key(customer_id) AS customer_hk,
  customer_id,
  company_id,
  first_name,
  last_name,
  email,
  gender,
  age_group,
  country,
  registration_date,
  customer_tier,
  risk_tolerance,
  customer_type,
  is_kyc_verified,
  is_deleted,
  load_timestamp,
  record_source,
  _load_id,
  _arrived_at,
  @key_bits(@hash_key(customer_id)) AS _key
FROM (
  SELECT
    @fold_upper(customer_id) AS customer_id,
    @fold_upper(company_id) AS company_id,
    @text(first_name) AS first_name,
    @text(last_name) AS last_name,
    @text(email) AS email,
    @text(gender) AS gender,
    @text(age_group) AS age_group,
    @text(country) AS country,
    registration_date,
    @text(customer_tier) AS customer_tier,
    @text(risk_tolerance) AS risk_tolerance,
    @text(customer_type) AS customer_type,
    is_kyc_verified,
    is_deleted,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_customers
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
) AS delivered
