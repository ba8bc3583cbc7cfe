/* Of every customer touched now: versions follow each other without gap or overlap, and the last one is current, unless it is a deletion. */
AUDIT (
  name history_sound,
  blocking TRUE
);

WITH versions AS (
  SELECT
    customer_hk,
    effective_from,
    effective_to,
    is_current,
    is_deleted,
    LEAD(effective_from) OVER (PARTITION BY customer_hk ORDER BY effective_from) AS next_from
  FROM @this_model
  WHERE
    _key IN (SELECT _key FROM @this_model WHERE _arrived_at BETWEEN @start_dt AND @end_dt)
), judged AS (
  SELECT
    customer_hk,
    effective_from,
    CASE
      WHEN is_current IS DISTINCT FROM (next_from IS NULL AND NOT is_deleted) THEN 'not exactly one current version'
      WHEN next_from IS NULL AND effective_to IS DISTINCT FROM '9999-12-31 00:00:00+00'::TIMESTAMPTZ
      THEN 'the current version ends'
      WHEN effective_to < next_from THEN 'a gap before the next version'
      WHEN effective_to > next_from THEN 'overlaps the next version'
      WHEN effective_from >= effective_to THEN 'ends before it begins'
    END AS problem
  FROM versions
)
SELECT
  problem,
  customer_hk,
  effective_from
FROM judged
WHERE
  NOT problem IS NULL
