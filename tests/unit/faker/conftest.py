"""Running the faker's dlt resources outside a pipeline, with a state that the test keeps."""

from datetime import UTC, datetime

import pytest

from engine.extract import pages
from sources.faker.settings import FakerSource
from sources.protocol import Asset, SourceContext

ASSETS = {
    "crypto": [Asset(symbol, "crypto") for symbol in ("BTC", "ETH", "USDT", "SHIB", "NEWCOIN")],
    "stocks": [Asset(symbol, "stock") for symbol in ("AAPL", "BRK-B", "ZZZZ")],
}
NOW = datetime(2026, 3, 1, 13, 0, 30, tzinfo=UTC)


@pytest.fixture
def faking(tmp_path):
    """A function that runs one table of the faker and returns its rows as one Arrow table."""

    def run(table, state, now=NOW, assets=ASSETS, **block):
        import pyarrow as pa

        source = FakerSource.model_validate({"type": "faker", **block})
        [resource] = [one for one in source.resources_of("faker", assets) if one.name == table]
        ctx = SourceContext(
            source="faker",
            assets=assets,
            now=now,
            project_dir=tmp_path,
            data_dir=tmp_path,
            notice=lambda *_, **__: None,
        )
        tables = list(pages(resource.build(ctx), "faker", state))
        return pa.concat_tables(tables) if tables else None

    return run
