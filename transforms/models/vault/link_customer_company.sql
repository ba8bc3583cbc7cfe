MODEL (
  name vault.link_customer_company,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = customer_company_hk)
  ),
  tags [customers],
  allow_partials TRUE,
  description 'Which company a customer was ever said to belong to; which now: eff_sat_customer_company'
);

@link(
  customer_company,
  hubs := (customer(customer_id), company(company_id)),
  feeds := (stage.customer)
);
