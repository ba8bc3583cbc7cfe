MODEL (
  name vault.sat_asset_price_crypto,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = (asset_hk, quote_currency, observed_at), version = (record_source, load_timestamp, hashdiff))
  ),
  tags [prices],
  allow_partials TRUE,
  audits (
    KEY_SOUND(key := (asset_hk, quote_currency, observed_at, record_source, load_timestamp), required := hashdiff, optional := (quote_currency, observed_at))
  ),
  description 'Crypto prices, a row a change of what a source said of one instant, in quote_currency'
);

@satellite(
  asset,
  key := (asset_symbol, asset_type),
  child := (quote_currency, observed_at::TIMESTAMPTZ),
  feed := stage.price_crypto,
  payload := (
    symbol,
    base_currency,
    price::DECIMAL(38,18),
    volume::DECIMAL(38,18),
    volume_unit
  )
);
