MODEL (
  name raw.raw_assets,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [assets],
  description 'Assets of pipelines.yaml, resolved; every change of a list is a new delivery'
);

SELECT
  r.asset_symbol::TEXT AS asset_symbol,
  r.asset_type::TEXT AS asset_type,
  r.asset_name::TEXT AS asset_name,
  r.asset_category::TEXT AS asset_category,
  r.source::TEXT AS source,
  r.load_timestamp::TIMESTAMPTZ AS load_timestamp,
  r._load_id::TEXT AS _load_id,
  p.arrived_at::TIMESTAMPTZ AS _arrived_at
FROM landing.raw_assets AS r
INNER JOIN landing._packages AS p
  ON p._load_id = r._load_id
