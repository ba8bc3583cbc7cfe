MODEL (
  name vault.sat_company_details,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = company_hk, version = (record_source, load_timestamp, hashdiff), hubs = vault.hub_company)
  ),
  tags [customers],
  allow_partials TRUE,
  depends_on (vault.hub_company),
  audits (
    KEY_SOUND(key := (company_hk, record_source, load_timestamp), required := hashdiff, hubs := vault.hub_company)
  ),
  description 'What each source said of a company, a row a change'
);

@satellite(
  company,
  key := company_id,
  feed := stage.company,
  deleted := is_deleted,
  payload := (
    company_name,
    company_type,
    company_email,
    country,
    year_founded::BIGINT,
    tax_number,
    office_primary_location,
    registration_date::DATE
  )
);
