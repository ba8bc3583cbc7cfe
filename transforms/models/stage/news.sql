MODEL (
  name stage.news,
  kind CUSTOM (
    materialization 'replace_arrived'
  ),
  tags [news],
  allow_partials TRUE,
  description 'Every delivery of an article about an asset: keys folded and hashed, texts trimmed'
);

SELECT
  @hash_key(url) AS news_hk,
  url,
  asset_symbol,
  asset_type,
  date,
  title,
  description,
  image,
  published_at,
  load_timestamp,
  record_source,
  _load_id,
  _arrived_at,
  @key_bits(@hash_key(url)) AS _key
FROM (
  SELECT
    @text(url) AS url,
    @fold_upper(ticker) AS asset_symbol,
    @fold_lower(asset_type) AS asset_type,
    date,
    @text(title) AS title,
    @text(description) AS description,
    @text(image) AS image,
    published_at,
    load_timestamp,
    source AS record_source,
    _load_id,
    _arrived_at
  FROM raw.raw_news
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
) AS delivered
