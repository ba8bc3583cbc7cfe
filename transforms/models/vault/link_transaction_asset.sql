MODEL (
  name vault.link_transaction_asset,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = transaction_asset_hk)
  ),
  tags [transactions],
  allow_partials TRUE,
  description 'Which asset a transaction was ever said to be about'
);

@link(
  transaction_asset,
  hubs := (transaction(transaction_id), asset(asset_symbol, asset_type)),
  feeds := (stage.transaction_personal, stage.transaction_corporate)
);
