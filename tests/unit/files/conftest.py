"""Running one dlt resource outside a pipeline, with a state that the test keeps."""

from datetime import UTC, datetime

import pytest

from sources.files.settings import FilesSource
from sources.protocol import SourceContext


class Notices(list):
    def __call__(self, message, *, item=None):
        self.append((item, message))


def run_resource(resource, state, source="history"):
    from dlt.common.configuration import inject_section
    from dlt.common.configuration.container import Container
    from dlt.common.configuration.specs import ConfigSectionContext
    from dlt.common.pipeline import StateInjectableContext
    from dlt.extract.pipe_iterator import ManagedPipeIterator

    context = StateInjectableContext(state=state)
    sections = ConfigSectionContext(sections=("sources", source, resource.name), source_state_key=source)
    with (
        inject_section(sections),
        Container().injectable_context(context),
        ManagedPipeIterator.from_pipe(resource._pipe) as pages,
    ):
        pages.set_context([context])
        for page in pages:
            yield page.item


@pytest.fixture
def reading(tmp_path):
    """A function that runs a files source over tmp_path/in and returns (pages, notices); state lives with it."""
    folder = tmp_path / "in"
    folder.mkdir()
    state: dict = {}

    def read(resource=None, **source):
        block = {"type": "files", "path": "in", "settle_seconds": 0, **source}
        block["resources"] = {"raw_t": resource or {"files": "*"}}
        settings = FilesSource.model_validate(block)
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
        built = settings.resources_of("history", {})[0].build(ctx)
        return list(run_resource(built, state)), notices

    read.folder = folder
    read.state = state
    read.context_dir = tmp_path
    return read
