MODEL (
  name vault.hub_company,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = company_hk)
  ),
  tags [customers],
  allow_partials TRUE,
  description 'Companies, by company_id'
);

@hub(
  company,
  key := company_id,
  feeds := (stage.company, stage.customer, stage.transaction_corporate)
);
