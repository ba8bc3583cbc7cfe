from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import yaml

from engine.conform import Conformer
from engine.extract import pages
from sources.files.settings import FilesSource
from sources.kafka.settings import KafkaSource
from sources.protocol import SourceContext

PROJECT = Path(__file__).parents[3]
SOURCES = yaml.safe_load((PROJECT / "pipelines.yaml").read_text())["sources"]


def test_the_bundled_history_lands_whole_and_exact(tmp_path):
    [resource] = FilesSource.model_validate(SOURCES["history"]).resources_of("history", {})
    notices = []
    ctx = SourceContext("history", {}, datetime.now(UTC), PROJECT, tmp_path, lambda text, **_: notices.append(text))
    conformer = Conformer(resource.table, (), source="history", load_id="l", run_id="r")
    conformed = [conformer.conform(page, datetime.now(UTC)) for page in pages(resource.build(ctx), "history", {})]
    rows = pa.concat_tables([page.rows for page in conformed])
    assert resource.table.name == "raw_history_ohlcv"
    assert notices == []
    assert sum(page.set_aside for page in conformed) == 0
    assert rows.num_rows == 12_154
    first = rows.slice(0, 1).to_pylist()[0]
    assert (first["symbol"], first["asset_type"], first["interval"], first["source"]) == (
        "AAPL",
        "stock",
        "1d",
        "history",
    )
    assert first["open_time"] == datetime(2000, 3, 1, 5, tzinfo=UTC)
    assert [first[name] for name in ("open", "high", "low", "close", "adj_close", "volume")] == [
        Decimal(text) for text in ("118.56", "132.06", "118.5", "130.31", "4.186662803811", "9616100")
    ]
    assert first["_file"] == "stocks_daily.csv.gz"


def test_the_bundled_topics_fill_a_table_each():
    resources = KafkaSource.model_validate({**SOURCES["kafka"], "brokers": "broker:9092"}).resources_of("kafka", {})
    assert [one.table.name for one in resources] == [
        "raw_customers",
        "raw_corporates",
        "raw_transaction_personal",
        "raw_transaction_corporate",
    ]
