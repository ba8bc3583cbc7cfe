MODEL (
  name stage.price_stock,
  kind CUSTOM (
    materialization 'replace_arrived'
  ),
  tags [prices],
  allow_partials TRUE,
  description 'Every delivery of a stock bar: keys folded and hashed, texts trimmed'
);

SELECT
  @hash_key(asset_symbol, asset_type) AS asset_hk,
  asset_symbol,
  asset_type,
  open_price,
  high_price,
  low_price,
  close_price,
  adj_close_price,
  volume,
  volume_unit,
  dividends,
  stock_splits,
  market_cap,
  pe_ratio,
  week_52_high,
  week_52_low,
  avg_volume,
  currency,
  observed_at,
  load_timestamp,
  record_source,
  _load_id,
  _arrived_at,
  @key_bits(@row_hash(asset_symbol, asset_type, observed_at::TIMESTAMPTZ)) AS _key
FROM (
  SELECT
    @fold_upper(ticker) AS asset_symbol,
    'stock' AS asset_type,
    open_price,
    high_price,
    low_price,
    close_price,
    adj_close_price,
    volume,
    @text(volume_unit) AS volume_unit,
    dividends,
    stock_splits,
    market_cap,
    pe_ratio,
    week_52_high,
    week_52_low,
    avg_volume,
    @text(currency) AS currency,
    observed_at,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_stockprices_yfinance
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
) AS delivered
