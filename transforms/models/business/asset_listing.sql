MODEL (
  name business.asset_listing,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [assets],
  grain (asset_hk),
  description 'The assets of pipelines.yaml as they were listed last, one that was removed since too: name and category, which no price feed has'
);

SELECT
  @hash_key(asset_symbol, asset_type) AS asset_hk,
  asset_name,
  asset_category,
  _arrived_at
FROM (
  SELECT
    @fold_upper(asset_symbol) AS asset_symbol,
    @fold_lower(asset_type) AS asset_type,
    @text(asset_name) AS asset_name,
    @text(asset_category) AS asset_category,
    load_timestamp,
    _arrived_at,
    _load_id
  FROM raw.raw_assets
) AS listed
WHERE
  NOT asset_symbol IS NULL AND NOT asset_type IS NULL
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY asset_symbol, asset_type
    ORDER BY load_timestamp DESC, asset_name DESC, asset_category DESC
  ) = 1
