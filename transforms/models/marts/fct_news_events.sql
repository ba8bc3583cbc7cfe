MODEL (
  name marts.fct_news_events,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [news],
  grain (news_hk, asset_hk),
  description 'One row an article and asset: the article as it was last delivered'
);

WITH latest AS (
  SELECT *
  FROM vault.sat_news_content
  QUALIFY
    ROW_NUMBER() OVER (PARTITION BY news_hk ORDER BY load_timestamp DESC, record_source DESC) = 1
)
SELECT
  link.news_asset_hk,
  link.news_hk,
  link.asset_hk,
  hub.url,
  asset.asset_symbol,
  asset.asset_type,
  latest."date" AS published_date,
  latest.title,
  latest.description,
  latest.image,
  COALESCE(latest.record_source, link.record_source) AS record_source,
  COALESCE(latest.load_timestamp, link.load_timestamp) AS load_timestamp,
  COALESCE(latest._load_id, link._load_id) AS _load_id,
  GREATEST(link._arrived_at, COALESCE(latest._arrived_at, link._arrived_at)) AS _arrived_at
FROM vault.link_news_asset AS link
INNER JOIN vault.hub_news AS hub
  ON hub.news_hk = link.news_hk
INNER JOIN vault.hub_asset AS asset
  ON asset.asset_hk = link.asset_hk
LEFT JOIN latest
  ON latest.news_hk = link.news_hk
