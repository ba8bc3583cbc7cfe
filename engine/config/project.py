"""A project: pipelines.yaml, checked and resolved for one profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config.document import Document
from engine.config.models import Notify, Profile, ProjectFile
from engine.quota import QuotaReport
from sources.protocol import AssetLists, Resource


@dataclass(frozen=True, slots=True)
class Project:
    """Everything a command needs to know.

    `sources` leaves out what `skipped_sources` names with the reason, `destinations` what `skipped_destinations` does.

    `notes` are single lines for people (a destination that only other profiles have, a quota that is nearly used up).
    `secrets` are the values that came from the environment: nothing that prints or logs may show them.
    """

    path: Path
    project_dir: Path
    profile_name: str
    file: ProjectFile = field(repr=False)
    profile: Profile = field(repr=False)
    sources: Mapping[str, Any] = field(repr=False)
    destinations: Mapping[str, Any] = field(repr=False)
    assets: AssetLists = field(repr=False)
    resources: Mapping[str, Sequence[Resource]] = field(repr=False)
    skipped_sources: Mapping[str, str]
    skipped_destinations: Mapping[str, str]
    notes: tuple[str, ...]
    quota: QuotaReport = field(repr=False)
    document: Document = field(repr=False)
    silent: str = ""
    """Why nobody is told anything although the file has `notify:`; '' where that is not so."""
    secrets: frozenset[str] = field(repr=False, default=frozenset())

    @property
    def data_dir(self) -> Path:
        """The active profile's data folder (state, locks, caches), absolute."""
        return self.project_dir / self.profile.data

    @property
    def warehouses(self) -> dict[str, Any]:
        """The destinations of the active profile that can run models and answer queries, in the file's order."""
        return {name: settings for name, settings in self.destinations.items() if settings.runs_models}

    @property
    def notify(self) -> Notify | None:
        """How people are told of failures; None: they are not."""
        return None if self.silent else self.file.notify

    def resources_of(self, pipeline: str) -> list[tuple[str, Resource]]:
        """What a pipeline extracts, (source, resource) in the order of the file, without skipped sources."""
        found = []
        for reference in self.file.pipelines[pipeline].extract:
            source, _, wanted = reference.partition(".")
            offered = self.resources.get(source, ())
            found += [(source, resource) for resource in offered if not wanted or resource.name == wanted]
        return found

    def where(self, *path: str | int) -> str:
        """`pipelines.yaml:LINE` of a value, for messages."""
        return f"{self.document.text.name}:{self.document.position(path).line}"
