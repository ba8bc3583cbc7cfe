MODEL (
  name vault.sat_asset_price_stock,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = (asset_hk, observed_at), version = (record_source, load_timestamp, hashdiff))
  ),
  tags [prices],
  allow_partials TRUE,
  audits (
    KEY_SOUND(key := (asset_hk, observed_at, record_source, load_timestamp), required := hashdiff, optional := observed_at)
  ),
  description 'Stock bars and company figures, a row a change of what a source said of one instant, in currency'
);

@satellite(
  asset,
  key := (asset_symbol, asset_type),
  child := observed_at::TIMESTAMPTZ,
  feed := stage.price_stock,
  payload := (
    open_price::DECIMAL(38,18),
    high_price::DECIMAL(38,18),
    low_price::DECIMAL(38,18),
    close_price::DECIMAL(38,18),
    adj_close_price::DECIMAL(38,18),
    volume::DECIMAL(38,18),
    dividends::DECIMAL(38,18),
    stock_splits::DECIMAL(38,18),
    market_cap::DECIMAL(38,18),
    pe_ratio::DECIMAL(38,18),
    week_52_high::DECIMAL(38,18),
    week_52_low::DECIMAL(38,18),
    avg_volume::DECIMAL(38,18),
    volume_unit,
    currency
  )
);
