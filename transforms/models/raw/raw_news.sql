MODEL (
  name raw.raw_news,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [news],
  description 'Crypto news'
);

SELECT
  r.ticker::TEXT AS ticker,
  r.asset_type::TEXT AS asset_type,
  r.url::TEXT AS url,
  r."date"::DATE AS "date",
  r.title::TEXT AS title,
  r.description::TEXT AS description,
  r.image::TEXT AS image,
  r.published_at::TIMESTAMPTZ AS published_at,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_news AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
