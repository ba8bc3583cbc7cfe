"""Sources: each subpackage turns one kind of upstream into dlt resources; settings.py is its YAML, light to import.

`SOURCE_TYPES` maps the `type:` of a source in pipelines.yaml to its settings model.
"""

SOURCE_TYPES: dict[str, tuple[str, str]] = {
    "rest": ("sources.rest.settings", "RestSource"),
    "yfinance": ("sources.yfinance.settings", "YfinanceSource"),
    "karpet": ("sources.karpet.settings", "KarpetSource"),
    "files": ("sources.files.settings", "FilesSource"),
    "faker": ("sources.faker.settings", "FakerSource"),
    "kafka": ("sources.kafka.settings", "KafkaSource"),
}
