MODEL (
  name vault.link_news_asset,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = news_asset_hk)
  ),
  tags [news],
  allow_partials TRUE,
  description 'Which assets an article is about'
);

@link(
  news_asset,
  hubs := (news(url), asset(asset_symbol, asset_type)),
  feeds := (stage.news)
);
