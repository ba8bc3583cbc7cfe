select
  prices.asset_symbol,
  desks.desk,
  prices.quote_currency,
  count(*) as observations,
  min(prices.price) as lowest,
  max(prices.price) as highest,
  {{ spread_bps('min(prices.price)', 'max(prices.price)') }} as spread_bps
from {{ ref('price_log') }} as prices
left join {{ ref('desks') }} as desks using (asset_symbol)
group by all
