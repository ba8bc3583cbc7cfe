"""SQLMesh's dbt loader for a project that brings no connection: the profile is written for the warehouse in use.

Imported only when there is a dbt project: it imports dbt.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbt_common.events.event_manager_client import add_callback_to_manager, cleanup_event_logger
from sqlmesh.core.audit import StandaloneAudit
from sqlmesh.core.context import GenericContext
from sqlmesh.core.loader import LoadedProject
from sqlmesh.dbt.common import load_yaml
from sqlmesh.dbt.context import DbtContext
from sqlmesh.dbt.loader import DbtLoader
from sqlmesh.dbt.manifest import ManifestHelper

from engine.dbt import PROFILE_FILE, PROJECT_FILE

log = logging.getLogger(__name__)
PROFILES_DIR = "DBT_PROFILES_DIR"


class ProjectLoader(DbtLoader):  # type: ignore[misc]
    """Loads one dbt project. Its models go to the schema that is called as the project, in the warehouse's catalog."""

    def __init__(self, context: Any, path: Path, files: str = "") -> None:
        """`files` is the hash of the project's files; it is part of the configuration, not needed here."""
        del files
        name = path.relative_to(path.parents[1]).as_posix().replace("/", "-")
        self._folder = Path(context.cache_dir) / "dbt" / f"{context.selected_gateway}-{name}"
        super().__init__(context, path, profiles_dir=self._folder)

    def load(self, *args: Any, **kwargs: Any) -> LoadedProject:
        """Load models, seeds and tests; what dbt writes meanwhile goes to the data folder, not into the project."""
        with _profiles_in(self._folder):
            cleanup_event_logger()  # dbt's own goes to standard output, which belongs to the command
            add_callback_to_manager(_noted)
            self._write_profile()
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

    def _write_profile(self) -> None:
        """Name catalog and schema. The path is no file: dbt only parses, SQLMesh holds the connection."""
        declared = load_yaml(self.config_path / PROJECT_FILE)
        render = DbtContext(project_root=self.config_path).render
        name = render(str(declared.get("name") or ""))
        catalog, gateway = self.context.default_catalog, self.context.selected_gateway
        output = {"type": "duckdb", "path": catalog, "database": catalog, "schema": name}
        profile = {
            render(str(declared.get("profile") or "")) or name: {"target": gateway, "outputs": {gateway: output}}
        }
        text, path = json.dumps(profile), self._folder / PROFILE_FILE
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # SQLMesh's cache looks at its time
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _noted(event: Any) -> None:
    log.info("%s", event.info.msg)


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


def _select(context: GenericContext[Any], *args: Any, **kwargs: Any) -> set[str]:
    """Add the tests of several models to a run of chosen models: SQLMesh leaves them out."""
    chosen: set[str] = _select_as_it_is(context, *args, **kwargs)
    return chosen | {audit.fqn for audit in context.standalone_audits.values() if audit.depends_on & chosen}


_select_as_it_is = GenericContext._select_models_for_run  # noqa: SLF001 - a context is made in more than one place
GenericContext._select_models_for_run = _select  # noqa: SLF001


def _load_project(helper: ManifestHelper, profile: Any) -> Any:
    """Have dbt write its parsed manifest beside the profile, not into the project: SQLMesh sets no target path."""
    project = _load_project_as_it_is(helper, profile)
    project.target_path = str(helper.profiles_path / "target")
    return project


_load_project_as_it_is = ManifestHelper._load_project  # noqa: SLF001 - there is no other place to say it
ManifestHelper._load_project = _load_project  # noqa: SLF001
