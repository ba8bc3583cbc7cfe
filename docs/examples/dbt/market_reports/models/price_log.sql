{{ config(materialized='incremental', unique_key=['asset_symbol', 'price_source', 'quote_currency', 'observed_at']) }}

select
  asset_symbol,
  price_source,
  quote_currency,
  observed_at,
  price,
  _arrived_at as arrived_at,
  current_timestamp as logged_at
from {{ source('marts', 'fct_asset_prices') }}
{% if is_incremental() %}
-- by arrival: a late price of an old hour is taken too
where _arrived_at > (select max(arrived_at) from {{ this }})
{% endif %}
