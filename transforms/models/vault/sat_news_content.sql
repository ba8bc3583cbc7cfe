MODEL (
  name vault.sat_news_content,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = news_hk, version = (record_source, load_timestamp, hashdiff), hubs = vault.hub_news)
  ),
  tags [news],
  allow_partials TRUE,
  depends_on (vault.hub_news),
  audits (
    KEY_SOUND(key := (news_hk, record_source, load_timestamp), required := hashdiff, hubs := vault.hub_news)
  ),
  description 'What each source said in an article, a row a change'
);

@satellite(
  news,
  key := url,
  feed := stage.news,
  payload := (
    date::DATE,
    title,
    description,
    image
  )
);
