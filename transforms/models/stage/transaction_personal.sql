MODEL (
  name stage.transaction_personal,
  kind CUSTOM (
    materialization 'replace_arrived'
  ),
  tags [transactions],
  allow_partials TRUE,
  description 'Every delivery of a personal transaction: keys folded and hashed, texts trimmed'
);

SELECT
  @hash_key(transaction_id) AS transaction_hk,
  transaction_id,
  customer_id,
  asset_type,
  asset_symbol,
  transaction_type,
  quantity,
  price_per_unit,
  transaction_amount,
  fee_amount,
  transaction_timestamp,
  data_date,
  customer_tier,
  customer_risk_tolerance,
  customer_type,
  data_source,
  is_deleted,
  load_timestamp,
  record_source,
  _load_id,
  _arrived_at,
  @key_bits(@hash_key(transaction_id)) AS _key
FROM (
  SELECT
    @fold_upper(transaction_id) AS transaction_id,
    @fold_upper(customer_id) AS customer_id,
    @fold_lower(asset_type) AS asset_type,
    @fold_upper(asset_symbol) AS asset_symbol,
    @text(transaction_type) AS transaction_type,
    quantity,
    price_per_unit,
    transaction_amount,
    fee_amount,
    transaction_timestamp,
    data_date,
    @text(customer_tier) AS customer_tier,
    @text(customer_risk_tolerance) AS customer_risk_tolerance,
    @text(customer_type) AS customer_type,
    @text(data_source) AS data_source,
    is_deleted,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_transaction_personal
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
) AS delivered
