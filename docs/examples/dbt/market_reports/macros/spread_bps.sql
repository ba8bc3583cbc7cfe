{% macro spread_bps(low, high) %}
  cast(round(({{ high }} - {{ low }}) * 10000 / nullif({{ low }}, 0)) as bigint)
{% endmacro %}
