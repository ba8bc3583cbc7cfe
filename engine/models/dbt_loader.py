"""SQLMesh's dbt loader for a project that brings no connection: the profile is written for the warehouse in use.

Imports dbt when the loader is asked for: only where there is a dbt project.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models.dbt import PROFILE_FILE, PROJECT_FILE

if TYPE_CHECKING:
    from sqlmesh.core.loader import Loader

log = logging.getLogger(__name__)
PROFILES_DIR = "DBT_PROFILES_DIR"


@cache
def project_loader() -> type[Loader]:
    """Return the loader of one dbt project; its models go to the schema that is called as the project."""
    from dbt_common.events.event_manager_client import add_callback_to_manager, cleanup_event_logger
    from sqlmesh.core.audit import StandaloneAudit
    from sqlmesh.dbt.loader import DbtLoader

    _select_tests_too()
    _write_beside_the_profile()

    class ProjectLoader(DbtLoader):  # type: ignore[misc]
        """DbtLoader with a profile of the engine's, for models that are due whenever something arrives."""

        def __init__(self, context: Any, path: Path, files: str = "") -> None:
            """`files` is the hash of the project's files; it is part of the configuration, not needed here."""
            del files
            name = path.relative_to(path.parents[1]).as_posix().replace("/", "-")
            self._folder = Path(context.cache_dir) / "dbt" / f"{context.selected_gateway}-{name}"
            super().__init__(context, path, profiles_dir=self._folder)

        def load(self, *args: Any, **kwargs: Any) -> Any:
            """Load models, seeds and tests."""
            with _profiles_in(self._folder):
                cleanup_event_logger()  # dbt's own goes to standard output, which belongs to the command
                add_callback_to_manager(lambda event: log.info("%s", event.info.msg))
                _write_profile(self._folder, self.config_path, self.context.default_catalog, self.context)
                return super().load(*args, **kwargs)

        def _load_models(self, *args: Any, **kwargs: Any) -> Any:
            """Let seeds be built at once: SQLMesh gives them the interval of a day, which is whole tomorrow only."""
            models, index = super()._load_models(*args, **kwargs)
            seeds = {name: model for name, model in models.items() if model.kind.is_seed}
            models.update({name: seed.copy(update={"allow_partials": True}) for name, seed in seeds.items()})
            return models, index

        def _load_audits(self, *args: Any, **kwargs: Any) -> Any:
            """Let tests of several models be due as often as the models: SQLMesh would look once a day."""
            audits = super()._load_audits(*args, **kwargs)
            cron = self.config.model_defaults.cron
            alone = {name: audit for name, audit in audits.items() if isinstance(audit, StandaloneAudit)}
            audits.update({name: audit.copy(update={"cron": cron}) for name, audit in alone.items()})
            return audits

    return ProjectLoader


def _write_profile(folder: Path, project: Path, catalog: str, context: Any) -> None:
    """Name catalog and schema. The path is no file: dbt only parses, SQLMesh holds the connection."""
    from sqlmesh.dbt.common import load_yaml
    from sqlmesh.dbt.context import DbtContext

    declared = load_yaml(project / PROJECT_FILE)
    render = DbtContext(project_root=project).render
    name, gateway = render(str(declared.get("name") or "")), context.selected_gateway
    output = {"type": "duckdb", "path": catalog, "database": catalog, "schema": name}
    profile = render(str(declared.get("profile") or "")) or name
    text = json.dumps({profile: {"target": gateway, "outputs": {gateway: output}}})
    path = folder / PROFILE_FILE
    if not path.exists() or path.read_text(encoding="utf-8") != text:  # SQLMesh's cache looks at its time
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@contextmanager
def _profiles_in(folder: Path) -> Iterator[None]:
    """Set the variable that goes before every other place of a profile; a person's own value is for dbt itself."""
    before = os.environ.get(PROFILES_DIR)
    os.environ[PROFILES_DIR] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[PROFILES_DIR]
        else:
            os.environ[PROFILES_DIR] = before


def _select_tests_too() -> None:
    """Add the tests of several models to every run of chosen models: SQLMesh leaves them out."""
    from sqlmesh.core.context import GenericContext

    select = GenericContext._select_models_for_run  # noqa: SLF001 - a context is made in more than one place

    def with_tests(context: Any, *args: Any, **kwargs: Any) -> set[str]:
        chosen: set[str] = select(context, *args, **kwargs)
        return chosen | {audit.fqn for audit in context.standalone_audits.values() if audit.depends_on & chosen}

    GenericContext._select_models_for_run = with_tests  # noqa: SLF001


def _write_beside_the_profile() -> None:
    """Have dbt write its parsed manifest there, not into the project: SQLMesh sets no target path."""
    from sqlmesh.dbt.manifest import ManifestHelper

    load = ManifestHelper._load_project  # noqa: SLF001 - there is no other place to say it

    def elsewhere(helper: Any, profile: Any) -> Any:
        project = load(helper, profile)
        project.target_path = str(helper.profiles_path / "target")
        return project

    ManifestHelper._load_project = elsewhere  # noqa: SLF001
