MODEL (
  name vault.link_news_asset,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = news_asset_hk, hubs = (vault.hub_news, vault.hub_asset))
  ),
  tags [news],
  allow_partials TRUE,
  depends_on (vault.hub_news, vault.hub_asset),
  audits (
    KEY_SOUND(key := news_asset_hk, required := (news_hk, asset_hk, load_timestamp, record_source), hubs := (vault.hub_news, vault.hub_asset))
  ),
  description 'Which assets an article is about'
);

@link(
  news_asset,
  hubs := (news(url), asset(asset_symbol, asset_type)),
  feeds := (stage.news)
);
