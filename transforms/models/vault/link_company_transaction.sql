MODEL (
  name vault.link_company_transaction,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = company_transaction_hk)
  ),
  tags [transactions],
  allow_partials TRUE,
  description 'Which company a corporate transaction was ever said to be of'
);

@link(
  company_transaction,
  hubs := (company(company_id), transaction(transaction_id)),
  feeds := (stage.transaction_corporate)
);
