MODEL (
  name marts.dim_asset,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = asset_hk)
  ),
  tags [assets, prices, transactions, news],
  allow_partials TRUE,
  grain (asset_hk),
  depends_on (vault.sat_asset_price_crypto),
  audits (
    KEY_SOUND(key := asset_hk, required := (asset_symbol, asset_type), hubs := vault.hub_asset),
    PRICED_ASSETS_KNOWN()
  ),
  description 'One row an asset that any feed names; name and category are those of pipelines.yaml, market_cap (stocks, in their currency) is the latest that a feed gave'
);

WITH touched AS (
  SELECT asset_hk
  FROM vault.hub_asset
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION
  SELECT asset_hk
  FROM business.asset_listing
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION
  SELECT asset_hk
  FROM vault.sat_asset_price_stock
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
), facts AS (
  SELECT
    asset_hk,
    market_cap
  FROM vault.sat_asset_price_stock
  WHERE
    NOT market_cap IS NULL AND asset_hk IN (SELECT asset_hk FROM touched)
  QUALIFY
    ROW_NUMBER() OVER (
      PARTITION BY asset_hk
      ORDER BY observed_at DESC NULLS LAST, load_timestamp DESC, record_source DESC
    ) = 1
)
SELECT
  hub.asset_hk,
  hub.asset_symbol,
  hub.asset_type,
  listing.asset_name,
  listing.asset_category,
  facts.market_cap,
  hub.record_source,
  hub.load_timestamp, /* first seen */
  hub._load_id,
  @end_dt::TIMESTAMPTZ AS _arrived_at,
  hub._key
FROM vault.hub_asset AS hub
LEFT JOIN business.asset_listing AS listing
  ON listing.asset_hk = hub.asset_hk
LEFT JOIN facts
  ON facts.asset_hk = hub.asset_hk
WHERE
  hub.asset_hk IN (SELECT asset_hk FROM touched)
