"""What the blocks of pipelines.yaml say about each other: names, references, schedules, quotas, assets carried."""

from __future__ import annotations

import os
import re
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from engine.config.assets import ASSET_REFERENCE, asset_columns
from engine.config.document import Document, KeyPath, YamlValue
from engine.config.models import FilesystemLake, Pipeline, Profile, ProjectFile
from engine.config.problems import Problem, choices, did_you_mean
from engine.quota import QuotaReport, quota_report
from engine.schedule import Schedule, ScheduleError, parse_schedule
from engine.timeseries import LONGEST_NAME
from sources.protocol import ASSET_FIELDS, AssetLists, Resource

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
SHORTEST = timedelta(minutes=5)


def check_names(document: Document, raw: Mapping[str, Any]) -> list[Problem]:
    """Names become folders, tables and state keys: lower-case letters, digits, - and _ only, each once."""
    problems = []
    for section in ("sources", "pipelines", "assets", "profiles"):
        block = raw.get(section)
        if not isinstance(block, dict):
            continue
        problems += _names(document, (section,), block)
        if section == "profiles":
            for profile, keys in block.items():
                if isinstance(keys, dict):
                    problems += _names(document, (section, profile), keys)
    return problems


def _names(document: Document, path: KeyPath, names: Iterable[str]) -> list[Problem]:
    problems = []
    folded: dict[str, str] = {}
    for name in names:
        if not NAME.match(name):
            problems.append(_bad_name(document, (*path, name), name, "a-z, 0-9, - and _", key=True))
        same = folded.setdefault(name.replace("-", "_"), name)
        if same != name:
            reason = f"the names {same!r} and {name!r} become the same table name: a duplicate"
            problems.append(document.problem((*path, name), reason, "Fix it: rename one of the two.", key=True))
    return problems


def _bad_name(document: Document, path: KeyPath, name: str, allowed: str, *, key: bool) -> Problem:
    shown = ascii(name[:63])
    reason = f"the name {shown} is not allowed here"
    remedy = f"Set a name of at most 63 characters out of {allowed} that starts with a letter."
    return document.problem(path, reason, remedy, key=key)


def check_asset_references(document: Document, value: YamlValue, path: KeyPath, assets: AssetLists) -> list[Problem]:
    """`assets: LIST` and `assets.LIST.COLUMN` (bare or in braces) in a source block name what exists."""
    problems: list[Problem] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "assets" and isinstance(item, str) and "{" not in item and item not in assets:
                problems.append(_unknown(document, (*path, key), "asset list", item, assets))
            problems += check_asset_references(document, item, (*path, key), assets)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            problems += check_asset_references(document, item, (*path, index), assets)
    elif isinstance(value, str):
        for name, column in ASSET_REFERENCE.findall(value):
            columns = {*asset_columns(assets), *ASSET_FIELDS}
            if name not in assets:
                problems.append(_unknown(document, path, "asset list", name, assets))
            elif column and column not in columns:
                problems.append(_unknown(document, path, "asset column", column, columns))
    return problems


def _unknown(document: Document, path: KeyPath, what: str, name: str, known: Iterable[str]) -> Problem:
    options = list(known)
    remedy = f"{did_you_mean(name, options)}Set one of: {choices(options)}."
    return document.problem(path, f"unknown {what} {name[:80]!r}", remedy)


@dataclass(slots=True)
class Links:
    """Checks pipelines against sources, destinations, assets and schedules. Filled by `check`."""

    document: Document
    file: ProjectFile
    profile: str
    offered: Mapping[str, Sequence[Resource]]
    """Resources by source, of skipped sources too; a source whose block is wrong is missing."""
    skipped: Mapping[str, str]
    assets: AssetLists
    asset_positions: Mapping[tuple[str, str, str], KeyPath]
    project_dir: Path
    problems: list[Problem] = field(default_factory=list)
    destinations: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    """Settings by (profile, name), of every profile; one whose block is wrong is missing."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """The active profile's optional destinations of which a variable is not set, and which."""
    notes: list[str] = field(default_factory=list)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    lacking: dict[str, list[str]] = field(default_factory=dict)
    """Destinations that only other profiles have: the pipelines that name them."""

    def check(self) -> QuotaReport:
        """Collect every problem and note; return the quota report."""
        self._timezone()
        self._tables()
        self._candles()
        self._places()
        for name, pipeline in self.file.pipelines.items():
            path: KeyPath = ("pipelines", name)
            self._extract(pipeline, path)
            self._load(name, pipeline, path)
            self._schedule(name, pipeline, path)
        for wanted, pipelines in self.lacking.items():
            whose = pipelines[0] if len(pipelines) == 1 else f"{len(pipelines)} pipelines"
            self.notes.append(f"{whose}: destination {wanted} is skipped, profile {self.profile} has none of that name")
        self.notes += [f"destination {name} is left out: {why}" for name, why in self.left_out.items()]
        self._carried()
        return self._quota()

    def _timezone(self) -> None:
        name = self.file.timezone
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            reason = f"unknown time zone {name[:80]!r}"
            remedy = f"{did_you_mean(name, zoneinfo.available_timezones())}Set a name such as Asia/Ho_Chi_Minh or UTC."
            self._add(("timezone",), reason, remedy)

    def _tables(self) -> None:
        for source, resources in self.offered.items():
            for resource in resources:
                path: KeyPath = ("sources", source, "resources", resource.name)
                if not NAME.match(resource.name):
                    self.problems.append(_bad_name(self.document, path, resource.name, "a-z, 0-9, - and _", key=True))
                elif not TABLE_NAME.match(resource.table.name):
                    named = (*path, "table") in self.document.values_at
                    at: KeyPath = (*path, "table") if named else path
                    name = resource.table.name
                    self.problems.append(_bad_name(self.document, at, name, "a-z, 0-9 and _", key=not named))
                if resource.assets is not None and resource.assets not in self.assets:
                    self.problems.append(_unknown(self.document, path, "asset list", resource.assets, self.assets))

    def _candles(self) -> None:
        """In schema timeseries no candle has the name of a table, and each has one that PostgreSQL takes."""
        kept: dict[str, KeyPath] = {}
        for source, resources in self.offered.items():
            for resource in resources:
                if resource.table.timeseries:
                    kept.setdefault(resource.table.name, ("sources", source, "resources", resource.name, "timeseries"))
        for source, resources in self.offered.items():
            for resource in resources:
                table, series = resource.table.name, resource.table.timeseries
                for length in series.candles if series else ():
                    view = f"{table}_{length}"
                    at: KeyPath = ("sources", source, "resources", resource.name, "timeseries", "candles")
                    if view in kept:
                        other = self.document.position(kept[view]).line
                        reason = (
                            f"the candles {length} of {table!r} would be called {view!r}, as the table of line {other}"
                        )
                        self._add(at, reason, "Rename one of the two tables (`table:`), or leave that length out.")
                    elif len(view.encode()) > LONGEST_NAME:
                        reason = f"the candles {length} would be called {view!r}: PostgreSQL takes {LONGEST_NAME} bytes"
                        shorter = f"Shorten the table's name to {LONGEST_NAME - len(length) - 1} characters."
                        self._add(at, reason, shorter)

    def _extract(self, pipeline: Pipeline, path: KeyPath) -> None:
        taken: dict[tuple[str, str], str] = {}
        for index, reference in enumerate(pipeline.extract):
            at: KeyPath = (*path, "extract", index)
            source, dot, wanted = reference.partition(".")
            if source not in self.file.sources:
                self.problems.append(_unknown(self.document, at, "source", source, self.file.sources))
                continue
            if source not in self.offered:
                continue
            names = [resource.name for resource in self.offered[source]]
            if dot and wanted not in names:
                known = [f"{source}.{name}" for name in names]
                self.problems.append(_unknown(self.document, at, "resource", reference, known))
                continue
            if (source, "") in taken:
                self._add(at, f"{reference!r} is extracted twice: a duplicate", "Fix it: remove one of the two.")
                continue
            for name in [wanted] if dot else ["", *names]:
                if taken.setdefault((source, name), reference) != reference or (
                    dot and reference in pipeline.extract[:index]
                ):
                    self._add(at, f"{reference!r} is extracted twice: a duplicate", "Fix it: remove one of the two.")
                    break

    def _load(self, name: str, pipeline: Pipeline, path: KeyPath) -> None:
        # the file's own words: a profile whose variables are missing may not be in the checked model
        profiles = self.document.value["profiles"].items()
        by_profile = {key: set(profile) - set(Profile.model_fields) for key, profile in profiles}
        everywhere = set().union(*by_profile.values())
        on = pipeline.transform.on if not isinstance(pipeline.transform, bool) else []
        for prefix, names in (((*path, "load"), pipeline.load), ((*path, "transform", "on"), on)):
            for index, wanted in enumerate(names):
                if wanted not in everywhere:
                    self.problems.append(_unknown(self.document, (*prefix, index), "destination", wanted, everywhere))
                elif wanted in names[:index]:
                    self._add(
                        (*prefix, index), f"{wanted!r} stands twice: a duplicate", "Fix it: remove one of the two."
                    )
                elif wanted not in by_profile[self.profile]:
                    self.lacking.setdefault(wanted, []).append(name)

        if pipeline.transform and not pipeline.load and "transform" in pipeline.model_fields_set:
            remedy = f"Add `load:` with one of: {choices(everywhere)}; or set `transform: false`."
            self._add((*path, "transform"), "models run where data is loaded, and this pipeline loads nothing", remedy)
            return
        for index, wanted in enumerate(on):
            if wanted in everywhere and on.index(wanted) == index:
                self._models_on(pipeline, wanted, (*path, "transform", "on", index))

    def _models_on(self, pipeline: Pipeline, wanted: str, at: KeyPath) -> None:
        """`on` names what the pipeline loads into, and models run there."""
        if wanted not in pipeline.load:
            remedy = f"Add it to `load`, or set one of: {choices(pipeline.load)}."
            self._add(at, f"this pipeline does not load into {wanted!r}, so no models run there", remedy)
            return
        for (profile, name), settings in self.destinations.items():
            if name == wanted and not settings.runs_models:
                warehouses = {each for (_, each), found in self.destinations.items() if found.runs_models}
                reason = f"{wanted!r} is no warehouse (profile {profile}: type {settings.type}): no models run there"
                remedy = f"Set one of: {choices(warehouses & set(pipeline.load))}."
                self._add(at, reason, remedy)
                return

    def _places(self) -> None:
        """Within a profile, the lake and every destination have a place of their own."""
        for profile, block in self.file.profiles.items():
            taken: dict[str, str] = {}
            if isinstance(block.lake, FilesystemLake):
                taken[self._place(block.lake.path)] = "the lake"
            for (of, name), settings in self.destinations.items():
                if of != profile or (of == self.profile and name in self.left_out):
                    continue
                path = getattr(settings, "path", None)
                if path is None and profile != self.profile:  # of others the variables are not read
                    continue
                here = settings.filled_database() if path is None else self._place(path)
                other = taken.setdefault(here, f"destination {name!r}")
                if other != f"destination {name!r}":
                    what = "database" if path is None else "path"
                    reason = f"{other} of profile {profile!r} is at the same {what}: one would overwrite the other"
                    key = next(key for key in ("path", "dsn", "type") if hasattr(settings, key))
                    self._add(("profiles", profile, name, key), reason, f"Set a {what} of its own.")
                if getattr(settings, "stage", None) and isinstance(block.lake, FilesystemLake):
                    reason = "Snowflake cannot read a lake in a local folder"
                    self._add(
                        ("profiles", profile, name, "stage"), reason, "Remove `stage`, or set `lake: {type: s3}`."
                    )

    def _place(self, path: str) -> str:
        return os.path.normpath(self.project_dir / path)

    def _schedule(self, name: str, pipeline: Pipeline, path: KeyPath) -> None:
        if pipeline.schedule is None:
            return
        at: KeyPath = (*path, "schedule")
        try:
            schedule = parse_schedule(pipeline.schedule)
        except ScheduleError as error:
            remedy = 'Set five cron fields: "0 20 * * *" is daily at 20:00, "*/5 * * * *" every 5 minutes.'
            self._add(at, f"not a cron schedule: {error}", remedy)
            return
        self.schedules[name] = schedule
        if pipeline.transform is not False and schedule.shortest_interval < SHORTEST:
            minutes = int(schedule.shortest_interval.total_seconds() // 60)
            reason = f"the models cannot follow a schedule of every {minutes} minute{'' if minutes == 1 else 's'}"
            remedy = 'Set 5 minutes or more ("*/5 * * * *"), or `transform: false` to load without running models.'
            self._add(at, reason, remedy)

    def _carried(self) -> None:
        """Every asset of a list that some pipeline follows is carried by a source that a pipeline extracts."""
        followers: dict[str, list[Resource]] = {}
        seen = set()
        for pipeline in self.file.pipelines.values():
            for source, resource in self._pairs(pipeline):
                if resource.assets is not None and (source, resource.name) not in seen:
                    seen.add((source, resource.name))
                    followers.setdefault(resource.assets, []).append(resource)
        for name, resources in followers.items():
            for asset in self.assets.get(name, ()):
                if any(resource.carries is None or resource.carries(asset) for resource in resources):
                    continue
                path = self.asset_positions.get((name, asset.asset_type, asset.symbol), ("assets", name))
                reason = f"no source that a pipeline extracts carries the asset {asset.symbol!r} of list {name!r}"
                self._add(path, reason, "Set its symbol at one of the sources (such as `binance: ...`), or remove it.")

    def _pairs(self, pipeline: Pipeline) -> list[tuple[str, Resource]]:
        pairs = []
        for reference in pipeline.extract:
            source, _, wanted = reference.partition(".")
            pairs += [(source, one) for one in self.offered.get(source, ()) if not wanted or one.name == wanted]
        return pairs

    def _quota(self) -> QuotaReport:
        extracts = {
            name: [pair for pair in self._pairs(pipeline) if pair[0] not in self.skipped]
            for name, pipeline in self.file.pipelines.items()
        }
        report = quota_report(extracts, self.schedules)
        for quota in report.sources:
            at: KeyPath = ("pipelines", quota.pipeline or "", "schedule")
            if quota.verdict == "refuse":
                self._add(
                    at,
                    f"{quota.source}: {quota.sentence}",
                    "Set a schedule that fits, or fewer assets, or a larger plan.",
                )
            elif quota.verdict == "warn":
                line = self.document.position(at).line
                self.notes.append(f"{self.document.text.name}:{line}  {quota.source}: {quota.sentence}")
        return report

    def _add(self, path: KeyPath, reason: str, remedy: str) -> None:
        self.problems.append(self.document.problem(path, reason, remedy))
