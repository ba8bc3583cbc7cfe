/* Every asset that has a price is in its hub. */
AUDIT (
  name priced_assets_known,
  blocking TRUE
);

SELECT DISTINCT
  'priced, and not in vault.hub_asset' AS problem,
  asset_hk
FROM (
  SELECT asset_hk
  FROM vault.sat_asset_price_crypto
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
  UNION ALL
  SELECT asset_hk
  FROM vault.sat_asset_price_stock
  WHERE
    _arrived_at BETWEEN @start_dt AND @end_dt
) AS priced
WHERE
  NOT asset_hk IN (SELECT asset_hk FROM vault.hub_asset)
