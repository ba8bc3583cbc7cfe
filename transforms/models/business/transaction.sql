MODEL (
  name business.transaction,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = transaction_hk, hubs = vault.hub_transaction)
  ),
  tags [transactions],
  allow_partials TRUE,
  grain (transaction_hk),
  depends_on (stage.transaction_personal, stage.transaction_corporate, vault.hub_transaction),
  audits (
    KEY_SOUND(key := transaction_hk, required := (transaction_id, data_quality), hubs := vault.hub_transaction),
    TRANSACTIONS_COMPLETE()
  ),
  description 'The rule of one transaction, one row: the latest version that any feed and source gave of it, with its keys, its amounts and what was known of its owner at trade time; is_deleted where the last word was that it is no more'
);

WITH touched AS (
  SELECT transaction_hk, _key
  FROM vault.sat_transaction_personal
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION
  SELECT transaction_hk, _key
  FROM vault.sat_transaction_corp
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), versions AS (
  SELECT 'personal' AS feed, *
  FROM vault.sat_transaction_personal
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'personal' AS feed, *
  FROM vault.sat_transaction_personal
  WHERE
    NOT _arrived_at BETWEEN @start_dt AND @end_dt
    AND _key IN (
      @elsewhere(vault.sat_transaction_personal, touched, vault.hub_transaction)
    )
  UNION ALL
  SELECT 'corporate' AS feed, *
  FROM vault.sat_transaction_corp
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'corporate' AS feed, *
  FROM vault.sat_transaction_corp
  WHERE
    NOT _arrived_at BETWEEN @start_dt AND @end_dt
    AND _key IN (
      @elsewhere(vault.sat_transaction_corp, touched, vault.hub_transaction)
    )
), latest AS (
  SELECT
    *,
    MAX(_arrived_at) OVER (PARTITION BY transaction_hk) AS touched_at
  FROM versions
  WHERE
    transaction_hk IN (SELECT transaction_hk FROM touched)
  QUALIFY
    ROW_NUMBER() OVER (
      PARTITION BY transaction_hk
      ORDER BY load_timestamp DESC, is_deleted DESC, feed DESC, record_source DESC
    ) = 1
)
SELECT
  transaction_hk,
  transaction_id,
  @hash_key(customer_id) AS customer_hk,
  CASE WHEN feed = 'corporate' THEN @hash_key(customer_id) END AS company_hk,
  @hash_key(asset_symbol, asset_type) AS asset_hk,
  customer_id,
  asset_symbol,
  asset_type,
  UPPER(transaction_type) AS transaction_type,
  quantity,
  price_per_unit,
  transaction_amount,
  fee_amount,
  (transaction_amount - fee_amount)::DECIMAL(38, 18) AS net_amount,
  (100 * @ratio(fee_amount, transaction_amount))::DECIMAL(38, 18) AS fee_percentage,
  COALESCE(LOWER(customer_type), feed) AS customer_type,
  customer_tier AS customer_tier_at_trade,
  customer_risk_tolerance AS risk_tolerance_at_trade,
  transaction_timestamp,
  (transaction_timestamp AT TIME ZONE 'UTC')::DATE AS transaction_date,
  EXTRACT(YEAR FROM transaction_timestamp AT TIME ZONE 'UTC')::INT AS transaction_year,
  EXTRACT(QUARTER FROM transaction_timestamp AT TIME ZONE 'UTC')::INT AS transaction_quarter,
  EXTRACT(MONTH FROM transaction_timestamp AT TIME ZONE 'UTC')::INT AS transaction_month,
  EXTRACT(DAY FROM transaction_timestamp AT TIME ZONE 'UTC')::INT AS transaction_day,
  (DATE_DIFF('DAY', '1900-01-01'::DATE, (transaction_timestamp AT TIME ZONE 'UTC')::DATE) % 7 + 1)::INT AS transaction_weekday, /* 1 is Monday, as 1900-01-01 was */
  EXTRACT(HOUR FROM transaction_timestamp AT TIME ZONE 'UTC')::INT AS transaction_hour,
  is_deleted,
  CASE
    WHEN is_deleted THEN 'deleted'
    WHEN customer_id IS NULL THEN 'no customer'
    WHEN asset_symbol IS NULL OR asset_type IS NULL THEN 'no asset'
    WHEN transaction_amount IS NULL OR quantity IS NULL OR price_per_unit IS NULL THEN 'an amount is missing'
    WHEN transaction_timestamp IS NULL THEN 'no time'
    WHEN quantity <= 0 OR price_per_unit < 0 OR transaction_amount < 0 OR fee_amount < 0 THEN 'a negative amount'
    WHEN ABS(quantity::DOUBLE * price_per_unit::DOUBLE - transaction_amount::DOUBLE) > 0.01 + 0.001 * transaction_amount::DOUBLE
      THEN 'amount is not quantity times price' /* a rough comparison, so in floats, which do not overflow */
    ELSE 'ok'
  END AS data_quality,
  record_source,
  load_timestamp,
  _load_id,
  touched_at AS _arrived_at,
  _key
FROM latest
