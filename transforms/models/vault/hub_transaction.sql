MODEL (
  name vault.hub_transaction,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = transaction_hk)
  ),
  tags [transactions],
  allow_partials TRUE,
  audits (
    KEY_SOUND(key := transaction_hk, required := (transaction_id, load_timestamp, record_source))
  ),
  description 'Transactions of both feeds, by transaction_id: one id space'
);

@hub(
  transaction,
  key := transaction_id,
  feeds := (stage.transaction_personal, stage.transaction_corporate)
);
