MODEL (
  name vault.rejects,
  kind CUSTOM (
    materialization 'replace_arrived'
  ),
  tags [customers, transactions, prices, news],
  allow_partials TRUE,
  description 'What could not be loaded, and why: keys that are missing, values that were set aside while landing (with their original text)'
);

SELECT
  table_name::TEXT AS table_name,
  column_name::TEXT AS column_name,
  reason::TEXT AS reason,
  value::TEXT AS value,
  record_source::TEXT AS record_source,
  load_timestamp::TIMESTAMPTZ AS load_timestamp,
  _load_id::TEXT AS _load_id,
  _arrived_at::TIMESTAMPTZ AS _arrived_at
FROM (
  SELECT 'raw_customers' AS table_name, 'customer_id' AS column_name, 'no customer_id: not loaded' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.customer
  WHERE
    customer_id IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_corporates' AS table_name, 'company_id' AS column_name, 'no company_id: not loaded' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.company
  WHERE
    company_id IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_transaction_personal' AS table_name, 'transaction_id' AS column_name, 'no transaction_id: not loaded' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.transaction_personal
  WHERE
    transaction_id IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_transaction_personal' AS table_name, 'customer_id' AS column_name, 'no customer_id: no link to a customer' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.transaction_personal
  WHERE
    customer_id IS NULL AND NOT is_deleted AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_transaction_personal' AS table_name, 'asset_symbol' AS column_name, 'no asset_symbol: no link to an asset' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.transaction_personal
  WHERE
    asset_symbol IS NULL AND NOT is_deleted AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_transaction_personal' AS table_name, 'asset_type' AS column_name, 'no asset_type: no link to an asset' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.transaction_personal
  WHERE
    asset_type IS NULL AND NOT is_deleted AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_transaction_corporate' AS table_name, 'transaction_id' AS column_name, 'no transaction_id: not loaded' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.transaction_corporate
  WHERE
    transaction_id IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_transaction_corporate' AS table_name, 'customer_id' AS column_name, 'no customer_id: no link to a customer or a company' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.transaction_corporate
  WHERE
    customer_id IS NULL AND NOT is_deleted AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_transaction_corporate' AS table_name, 'asset_symbol' AS column_name, 'no asset_symbol: no link to an asset' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.transaction_corporate
  WHERE
    asset_symbol IS NULL AND NOT is_deleted AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_transaction_corporate' AS table_name, 'asset_type' AS column_name, 'no asset_type: no link to an asset' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.transaction_corporate
  WHERE
    asset_type IS NULL AND NOT is_deleted AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_news' AS table_name, 'url' AS column_name, 'no url: not loaded' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.news
  WHERE
    url IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_news' AS table_name, 'asset_symbol' AS column_name, 'no ticker: no link to an asset' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.news
  WHERE
    asset_symbol IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_news' AS table_name, 'asset_type' AS column_name, 'no asset_type: no link to an asset' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.news
  WHERE
    asset_type IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_cryptoprices' AS table_name, 'asset_symbol' AS column_name, 'no base_currency: not loaded' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.price_crypto
  WHERE
    asset_symbol IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'raw_stockprices_yfinance' AS table_name, 'asset_symbol' AS column_name, 'no ticker: not loaded' AS reason, NULL AS value, record_source, load_timestamp, _load_id, _arrived_at
  FROM stage.price_stock
  WHERE
    asset_symbol IS NULL AND _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT q.table_name, q.column_name, q.reason, q.value, q.source, q.load_timestamp, q._load_id, p.arrived_at
  FROM landing._quarantine AS q
  INNER JOIN landing._packages AS p
    ON p._load_id = q._load_id
  WHERE
    p.arrived_at BETWEEN @start_dt AND @end_dt
) AS rejected
