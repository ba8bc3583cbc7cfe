select * from {{ ref('price_range') }} where highest < lowest
