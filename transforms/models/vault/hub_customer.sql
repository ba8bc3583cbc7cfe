MODEL (
  name vault.hub_customer,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = customer_hk)
  ),
  tags [customers],
  allow_partials TRUE,
  audits (
    KEY_SOUND(key := customer_hk, required := (customer_id, load_timestamp, record_source))
  ),
  description 'Customers, by customer_id: whoever a feed names, a profile or not'
);

@hub(
  customer,
  key := customer_id,
  feeds := (stage.customer, stage.transaction_personal, stage.transaction_corporate)
);
