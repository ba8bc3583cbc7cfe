"""Destinations: each module loads the lake's packages into one kind of database, with its cursor in the same transaction.

`DESTINATION_TYPES` maps the `type:` of a destination in pipelines.yaml to its module and settings model.
"""

DESTINATION_TYPES: dict[str, tuple[str, str]] = {
    "ducklake": ("destinations.settings", "DucklakeSettings"),
    "duckdb": ("destinations.settings", "DuckdbSettings"),
}
