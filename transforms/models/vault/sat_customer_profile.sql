MODEL (
  name vault.sat_customer_profile,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = customer_hk, version = (record_source, load_timestamp, hashdiff), hubs = vault.hub_customer)
  ),
  tags [customers],
  allow_partials TRUE,
  depends_on (vault.hub_customer),
  audits (
    KEY_SOUND(key := (customer_hk, record_source, load_timestamp), required := hashdiff, hubs := vault.hub_customer)
  ),
  description 'What each source said of a customer, a row a change'
);

@satellite(
  customer,
  key := customer_id,
  feed := stage.customer,
  deleted := is_deleted,
  payload := (
    first_name,
    last_name,
    email,
    country,
    customer_tier,
    risk_tolerance,
    registration_date::DATE,
    company_id,
    is_kyc_verified::BOOLEAN
  )
);
