MODEL (
  name vault.link_customer_company,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = customer_company_hk, hubs = (vault.hub_customer, vault.hub_company))
  ),
  tags [customers],
  allow_partials TRUE,
  depends_on (vault.hub_customer, vault.hub_company),
  audits (
    KEY_SOUND(key := customer_company_hk, required := (customer_hk, company_hk, load_timestamp, record_source), hubs := (vault.hub_customer, vault.hub_company))
  ),
  description 'Which company a customer was ever said to belong to; which now: eff_sat_customer_company'
);

@link(
  customer_company,
  hubs := (customer(customer_id), company(company_id)),
  feeds := (stage.customer)
);
