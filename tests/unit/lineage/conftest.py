"""Fixtures: the models alone, and a project that has run once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.models.graph import ModelGraph, read_models
from tests.unit.lineage.traced_project import Traced, deliveries
from tests.vault.adapter import Models, project_at


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> ModelGraph:
    """The models, in a project where nothing has run."""
    return read_models(project_at(tmp_path_factory.mktemp("fresh") / "project", "duckdb"))


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory, graph: ModelGraph) -> Iterator[Traced]:
    """The project after its first run."""
    models = Models("duckdb", tmp_path_factory.mktemp("traced") / "project")
    for table, rows in deliveries():
        models.land(table, rows)
    models.run(None)
    models.warehouse.publish()
    models.context.close()
    models.warehouse.__exit__(None, None, None)
    yield Traced(models.project, graph)
    models.lake.close()
