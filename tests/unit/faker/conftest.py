"""Running the faker's dlt resources outside a pipeline, with a state that the test keeps."""

from datetime import UTC, datetime

import pytest

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
        from dlt.common.configuration import inject_section
        from dlt.common.configuration.container import Container
        from dlt.common.configuration.specs import ConfigSectionContext
        from dlt.common.pipeline import StateInjectableContext
        from dlt.extract.pipe_iterator import ManagedPipeIterator

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
        context = StateInjectableContext(state=state)
        sections = ConfigSectionContext(sections=("sources", "faker", table), source_state_key="faker")
        with (
            inject_section(sections),
            Container().injectable_context(context),
            ManagedPipeIterator.from_pipe(resource.build(ctx)._pipe) as pages,
        ):
            pages.set_context([context])
            tables = [page.item for page in pages]
        return pa.concat_tables(tables) if tables else None

    return run
