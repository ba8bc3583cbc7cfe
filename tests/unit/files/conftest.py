"""Running one dlt resource outside a pipeline, with a state that the test keeps."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from engine.conform import Conformer
from engine.extract import pages
from engine.table import LINEAGE_COLUMNS
from sources.files.settings import FilesSource
from sources.protocol import SourceContext


class Notices(list):
    def __call__(self, message, *, item=None):
        self.append((item, message))


@pytest.fixture
def reading(tmp_path):
    """A function that runs a files source over tmp_path/in and returns (pages, notices); state lives with it."""
    folder = tmp_path / "in"
    folder.mkdir()
    state: dict = {}

    def settings_of(resource, **source):
        block = {"type": "files", "path": "in", "settle_seconds": 0, **source}
        return FilesSource.model_validate({**block, "resources": {"raw_t": resource or {"files": "*"}}})

    def read(resource=None, *, meanwhile=None, **source):
        """`meanwhile`: the first file is read ahead, and this is called before the resource is built."""
        settings = settings_of(resource, **source)
        notices = Notices()
        ctx = SourceContext(
            source="history",
            assets={},
            now=datetime(2026, 1, 1, tzinfo=UTC),
            project_dir=tmp_path,
            data_dir=tmp_path / "data",
            notice=notices,
        )
        (tmp_path / "data").mkdir(exist_ok=True)
        [one] = settings.resources_of("history", {})
        if meanwhile is not None:
            ctx = replace(ctx, begun=one.ahead(replace(ctx, notice=read.untold), state))
            meanwhile()
        built = one.build(ctx)
        return list(pages(built, "history", state)), notices

    def conformed(resource, page):
        [one] = settings_of(resource).resources_of("history", {})
        conformer = Conformer(one.table, (), source="history", load_id="load", run_id="run")
        return conformer.conform(page, datetime(2026, 1, 1, tzinfo=UTC))

    def typed(resource, *pages):
        lineage = {column.name for column in LINEAGE_COLUMNS}
        rows = [row for page in pages for row in conformed(resource, page).rows.to_pylist()]
        return [{name: value for name, value in row.items() if name not in lineage} for row in rows]

    read.untold = Notices()
    read.conformed = conformed
    read.typed = typed
    read.folder = folder
    read.state = state
    read.context_dir = tmp_path
    return read
