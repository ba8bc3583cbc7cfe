MODEL (
  name vault.hub_asset,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = asset_hk)
  ),
  tags [prices],
  allow_partials TRUE,
  audits (
    KEY_SOUND(key := asset_hk, required := (asset_symbol, asset_type, load_timestamp, record_source))
  ),
  description 'Assets, by symbol and type: COMP the coin and COMP the stock are two'
);

@hub(
  asset,
  key := (asset_symbol, asset_type),
  feeds := (stage.price_crypto, stage.price_stock, stage.transaction_personal, stage.transaction_corporate, stage.news)
);
