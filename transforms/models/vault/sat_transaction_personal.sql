MODEL (
  name vault.sat_transaction_personal,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = transaction_hk, version = (record_source, load_timestamp, hashdiff), hubs = vault.hub_transaction)
  ),
  tags [transactions],
  allow_partials TRUE,
  depends_on (vault.hub_transaction),
  audits (
    KEY_SOUND(key := (transaction_hk, record_source, load_timestamp), required := hashdiff, hubs := vault.hub_transaction)
  ),
  description 'What each source said of a personal transaction, a row a change'
);

@satellite(
  transaction,
  key := transaction_id,
  feed := stage.transaction_personal,
  deleted := is_deleted,
  payload := (
    customer_id,
    asset_type,
    asset_symbol,
    transaction_type,
    quantity::DECIMAL(38,18),
    price_per_unit::DECIMAL(38,18),
    transaction_amount::DECIMAL(38,18),
    fee_amount::DECIMAL(38,18),
    transaction_timestamp::TIMESTAMPTZ,
    data_date::DATE,
    customer_tier,
    customer_risk_tolerance,
    customer_type,
    data_source
  )
);
