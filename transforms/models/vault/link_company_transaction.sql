MODEL (
  name vault.link_company_transaction,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = company_transaction_hk, hubs = (vault.hub_company, vault.hub_transaction))
  ),
  tags [transactions],
  allow_partials TRUE,
  depends_on (vault.hub_company, vault.hub_transaction),
  audits (
    KEY_SOUND(key := company_transaction_hk, required := (company_hk, transaction_hk, load_timestamp, record_source), hubs := (vault.hub_company, vault.hub_transaction))
  ),
  description 'Which company a corporate transaction was ever said to be of'
);

@link(
  company_transaction,
  hubs := (company(company_id), transaction(transaction_id)),
  feeds := (stage.transaction_corporate)
);
