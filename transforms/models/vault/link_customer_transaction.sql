MODEL (
  name vault.link_customer_transaction,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = customer_transaction_hk, hubs = (vault.hub_customer, vault.hub_transaction))
  ),
  tags [transactions],
  allow_partials TRUE,
  depends_on (vault.hub_customer, vault.hub_transaction),
  audits (
    KEY_SOUND(key := customer_transaction_hk, required := (customer_hk, transaction_hk, load_timestamp, record_source), hubs := (vault.hub_customer, vault.hub_transaction))
  ),
  description 'Who was ever said to own a transaction; who does now: eff_sat_customer_transaction'
);

@link(
  customer_transaction,
  hubs := (customer(customer_id), transaction(transaction_id)),
  feeds := (stage.transaction_personal, stage.transaction_corporate)
);
