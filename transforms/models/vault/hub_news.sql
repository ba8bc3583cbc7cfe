MODEL (
  name vault.hub_news,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = news_hk)
  ),
  tags [news],
  allow_partials TRUE,
  audits (
    KEY_SOUND(key := news_hk, required := (url, load_timestamp, record_source))
  ),
  description 'Articles, by url (its case counts)'
);

@hub(
  news,
  key := url,
  feeds := (stage.news)
);
