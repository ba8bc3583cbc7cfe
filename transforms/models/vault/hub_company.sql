MODEL (
  name vault.hub_company,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = company_hk)
  ),
  tags [customers],
  allow_partials TRUE,
  audits (
    KEY_SOUND(key := company_hk, required := (company_id, load_timestamp, record_source))
  ),
  description 'Companies, by company_id'
);

@hub(
  company,
  key := company_id,
  feeds := (stage.company, stage.customer, stage.transaction_corporate)
);
