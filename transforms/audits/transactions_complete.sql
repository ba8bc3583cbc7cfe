/* Counts and sums against what was landed, for what has arrived now:
   a package is staged with as many rows as it brought; every staged transaction that has an id is one fact; its amount
   is the newest that one of its sources gave. The staged history of a key is looked at only where what has arrived now
   does not explain its fact. */
AUDIT (
  name transactions_complete,
  blocking TRUE
);

WITH staged AS (
  SELECT 'personal' AS feed, transaction_hk, transaction_amount, load_timestamp, _load_id, _key
  FROM stage.transaction_personal
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT 'corporate' AS feed, transaction_hk, transaction_amount, load_timestamp, _load_id, _key
  FROM stage.transaction_corporate
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), packages AS (
  SELECT feed, _load_id, COUNT(*) AS staged_rows
  FROM staged
  GROUP BY
    feed, _load_id
), not_staged AS (
  SELECT _load_id, rows
  FROM landing._packages
  WHERE
    table_name IN ('raw_transaction_personal', 'raw_transaction_corporate')
    AND arrived_at BETWEEN @start_dt AND @end_dt
    AND NOT _load_id IN (SELECT _load_id FROM packages)
), passed_over AS (
  SELECT 'personal' AS feed, n._load_id, n.rows
  FROM not_staged AS n
  WHERE
    n._load_id IN (SELECT _load_id FROM landing.raw_transaction_personal)
  UNION ALL
  SELECT 'corporate' AS feed, n._load_id, n.rows
  FROM not_staged AS n
  WHERE
    n._load_id IN (SELECT _load_id FROM landing.raw_transaction_corporate)
), facts_now AS (
  SELECT transaction_hk, transaction_amount, _key
  FROM @this_model
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), facts AS (
  SELECT transaction_hk, transaction_amount
  FROM facts_now
  UNION ALL
  SELECT transaction_hk, transaction_amount /* what was delivered again as it was: its fact is an older one */
  FROM @this_model
  WHERE
    NOT _arrived_at BETWEEN @start_dt AND @end_dt
    AND _key IN (
      SELECT _key
      FROM staged
      WHERE
        NOT transaction_hk IN (SELECT transaction_hk FROM facts_now)
    )
), newest AS (
  SELECT transaction_hk, transaction_amount, _key
  FROM staged
  WHERE
    NOT transaction_hk IS NULL
  QUALIFY
    RANK() OVER (PARTITION BY transaction_hk ORDER BY load_timestamp DESC) = 1
), unexplained AS (
  SELECT n.transaction_hk, f.transaction_amount, MAX(n._key) AS _key
  FROM newest AS n
  INNER JOIN facts AS f
    ON f.transaction_hk = n.transaction_hk
  GROUP BY
    n.transaction_hk, f.transaction_amount
  HAVING
    NOT BOOL_OR(n.transaction_amount IS NOT DISTINCT FROM f.transaction_amount)
), deliveries AS (
  SELECT 'personal' AS feed, record_source, transaction_hk, transaction_amount, load_timestamp
  FROM stage.transaction_personal
  WHERE
    _key IN (SELECT _key FROM unexplained)
  UNION ALL
  SELECT 'corporate' AS feed, record_source, transaction_hk, transaction_amount, load_timestamp
  FROM stage.transaction_corporate
  WHERE
    _key IN (SELECT _key FROM unexplained)
), last_said AS (
  SELECT transaction_hk, transaction_amount
  FROM deliveries
  QUALIFY
    RANK() OVER (PARTITION BY feed, record_source, transaction_hk ORDER BY load_timestamp DESC) = 1
)
SELECT
  'staged with ' || CAST(k.staged_rows AS TEXT) || ' of ' || CAST(p.rows AS TEXT) || ' rows' AS problem,
  'stage.transaction_' || k.feed AS look_in,
  NULL AS transaction_hk,
  k._load_id
FROM packages AS k
INNER JOIN landing._packages AS p
  ON p._load_id = k._load_id
WHERE
  p.rows <> k.staged_rows
UNION ALL
SELECT
  'staged with 0 of ' || CAST(rows AS TEXT) || ' rows' AS problem,
  'landing.raw_transaction_' || feed AS look_in,
  NULL AS transaction_hk,
  _load_id
FROM passed_over
UNION ALL
SELECT
  'delivered, and no fact' AS problem,
  'stage.transaction_' || MAX(feed) AS look_in,
  transaction_hk,
  NULL AS _load_id
FROM staged
WHERE
  NOT transaction_hk IS NULL AND NOT transaction_hk IN (SELECT transaction_hk FROM facts)
GROUP BY
  transaction_hk
UNION ALL
SELECT
  'its amount is none that a source gave last' AS problem,
  NULL AS look_in,
  u.transaction_hk,
  NULL AS _load_id
FROM unexplained AS u
WHERE
  NOT EXISTS(
    SELECT 1
    FROM last_said AS l
    WHERE
      l.transaction_hk = u.transaction_hk AND l.transaction_amount IS NOT DISTINCT FROM u.transaction_amount
  )
