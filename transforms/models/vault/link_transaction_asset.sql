MODEL (
  name vault.link_transaction_asset,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = transaction_asset_hk, hubs = (vault.hub_transaction, vault.hub_asset))
  ),
  tags [transactions],
  allow_partials TRUE,
  depends_on (vault.hub_transaction, vault.hub_asset),
  audits (
    KEY_SOUND(key := transaction_asset_hk, required := (transaction_hk, asset_hk, load_timestamp, record_source), hubs := (vault.hub_transaction, vault.hub_asset))
  ),
  description 'Which asset a transaction was ever said to be about'
);

@link(
  transaction_asset,
  hubs := (transaction(transaction_id), asset(asset_symbol, asset_type)),
  feeds := (stage.transaction_personal, stage.transaction_corporate)
);
