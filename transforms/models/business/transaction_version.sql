MODEL (
  name business.transaction_version,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [transactions],
  grain (transaction_hk, load_timestamp),
  description 'The versions of each transaction through load time, of both feeds: of two at one instant a deletion counts, then the personal one, then the last source in alphabetical order'
);

SELECT
  transaction_hk,
  customer_hk,
  load_timestamp,
  record_source,
  _load_id
FROM (
  SELECT 'personal' AS feed, transaction_hk, @hash_key(customer_id) AS customer_hk, is_deleted, load_timestamp, record_source, _load_id
  FROM vault.sat_transaction_personal
  UNION ALL
  SELECT 'corporate', transaction_hk, @hash_key(customer_id), is_deleted, load_timestamp, record_source, _load_id
  FROM vault.sat_transaction_corp
) AS versions
QUALIFY
  ROW_NUMBER() OVER (PARTITION BY transaction_hk, load_timestamp ORDER BY is_deleted DESC, feed DESC, record_source DESC) = 1
