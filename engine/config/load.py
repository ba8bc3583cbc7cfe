"""Load pipelines.yaml for one profile: read, fill in variables, check every block, then what they say of each other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from destinations import DESTINATION_TYPES
from engine.compose import typed_alike
from engine.config.assets import AssetResolver
from engine.config.blocks import settings_of
from engine.config.checks import Links, check_asset_references, check_names
from engine.config.document import Document, KeyPath, YamlValue, read_document
from engine.config.environment import Resolved, Resolver, read_env_file
from engine.config.explain import check
from engine.config.models import Profile, ProjectFile
from engine.config.problems import ConfigError, Problem, choices, did_you_mean, nearest
from engine.config.project import Project
from engine.errors import TickhouseError, UsageError
from sources.kafka.mock import MOCK
from sources.protocol import AssetLists, Resource

__all__ = ["Project", "load_project"]

DEFAULT_PROFILE = "local"
PROFILE_KEYS = frozenset(Profile.model_fields)
NOT_SET = "is not set"
WEBHOOK = re.compile(r"https?://[^\s/]+(/\S*)?\Z")
DESTINATION_DEPTH = 2
"""A destination's keys stand below profiles.PROFILE.DESTINATION."""
REPLAYED = frozenset({"rest", "yfinance", "karpet"})
"""Source types that the market replay serves; it asks for no key."""


def load_project(path: Path, *, profile: str | None = None, env: Mapping[str, str] | None = None) -> Project:
    """Load the project of a pipelines.yaml.

    The profile is the argument, else ENGINE_PROFILE, else `local`. `.env` beside the file fills in what `env` (the
    process's environment by default) does not have. Raises ConfigError with every mistake found, UsageError when
    there is no file.
    """
    path = path.absolute()
    document = read_document(path)
    variables = {**read_env_file(path.parent / ".env"), **(os.environ if env is None else env)}
    name = profile or variables.get("ENGINE_PROFILE") or DEFAULT_PROFILE
    return _Loader(path, document, name, Resolver(document, variables)).load()


@dataclass(slots=True)
class _Loader:
    """One load. Problems are gathered; a stage that needs an earlier one starts only when that one was right."""

    path: Path
    document: Document
    profile: str
    resolver: Resolver
    problems: list[Problem] = field(default_factory=list)
    missing: dict[KeyPath, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    silent: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    """The active profile's optional destinations of which a variable is not set, and which."""

    def load(self) -> Project:
        raw = self.document.value
        if not isinstance(raw, dict):
            self.problems.append(
                self.document.problem((), "yaml: the file is not a mapping of sections", "See README.md.")
            )
            self._raise()
        self._known_profile(raw)
        self.problems += check_names(self.document, raw)
        value = self._fill_in(raw)
        self.problems += self.resolver.problems
        file = self._file(value)
        sources = self._blocks("source", value.get("sources"), ("sources",))
        destinations = self._destinations(value)
        if file is None:
            self._raise()
            raise ConfigError(
                [self.document.problem((), "the file could not be checked", "Set the missing variables.")]
            )
        resolver = AssetResolver(self.document, self.path.parent)
        assets = resolver.resolve(file)
        self.problems += resolver.problems
        offered = self._offered(sources, value, assets)
        links = Links(
            document=self.document,
            file=file,
            profile=self.profile,
            offered=offered,
            skipped=self.skipped,
            assets=assets,
            asset_positions=resolver.positions,
            project_dir=self.path.parent,
            destinations=destinations,
            left_out=self.left_out,
        )
        quota = links.check()
        self.problems += links.problems
        self._raise()
        kept = {name: settings for name, settings in sources.items() if name not in self.skipped}
        return Project(
            path=self.path,
            project_dir=self.path.parent,
            profile_name=self.profile,
            file=file,
            profile=file.profiles[self.profile],
            sources=kept,
            destinations={
                name: settings
                for (of, name), settings in destinations.items()
                if of == self.profile and name not in self.left_out
            },
            assets=assets,
            resources={name: tuple(offered[name]) for name in kept},
            skipped_sources=self.skipped,
            skipped_destinations=self.left_out,
            notes=(*links.notes, *([f"notify is off: {self.silent}"] if self.silent else ())),
            silent=self.silent,
            quota=quota,
            document=self.document,
            secrets=frozenset(self.resolver.secrets),
        )

    def _raise(self) -> None:
        """Raise what was found. What a placeholder caused is left out: the missing variable is named already."""
        gaps = {self.document.position(path) for path in self.missing}
        problems = [problem for problem in self.problems if problem.at not in gaps or NOT_SET in problem.reason]
        if problems:
            raise ConfigError(problems, secrets=self.resolver.secrets)

    def _file(self, value: dict[str, Any]) -> ProjectFile | None:
        """Check the sections; a profile of others that only its missing variables keep from being read is left out."""
        file, problems = check(ProjectFile, value, self.document, (), self.missing)
        self.problems += problems
        if file is None and not self.problems:
            gaps = {path[1] for path in self.missing if path[0] == "profiles"}
            kept = {name: block for name, block in value["profiles"].items() if name not in gaps}
            file, _ = check(ProjectFile, {**value, "profiles": kept}, self.document, (), self.missing)
        return file

    def _known_profile(self, raw: Mapping[str, Any]) -> None:
        profiles = raw.get("profiles")
        if isinstance(profiles, dict) and self.profile not in profiles:
            reason = f"unknown profile {self.profile[:80]!r}"
            remedy = (
                f"{did_you_mean(self.profile, profiles)}Set --profile or ENGINE_PROFILE to one of: {choices(profiles)}."
            )
            self.problems.append(self.document.problem(("profiles",), reason, remedy, key=True))
            self._raise()

    def _fill_in(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in variables. Blocks of other profiles get placeholders; they are checked, never used."""
        value: dict[str, Any] = {}
        for section, block in raw.items():
            if section == "notify":
                value[section] = self._notify(block)
            elif section in {"profiles", "sources"} and isinstance(block, dict):
                fill = self._profile if section == "profiles" else self._source
                value[section] = {name: fill(name, item, (section, name)) for name, item in block.items()}
            else:
                value[section] = self._strict(block, (section,))
        return value

    def _notify(self, block: YamlValue) -> YamlValue:
        """Without its variable there are no messages: that is no mistake."""
        path: KeyPath = ("notify",)
        resolved = self.resolver.resolve(block, path)
        self.missing |= resolved.missing
        if resolved.missing:
            self.silent = self._unset(resolved)
            return resolved.value
        webhook = resolved.value.get("webhook") if isinstance(resolved.value, dict) else None
        if isinstance(webhook, str) and (wrong := wrong_webhook(webhook)):
            self.problems.append(self.document.problem((*path, "webhook"), *wrong))
        return resolved.value

    def _strict(self, block: YamlValue, path: KeyPath) -> YamlValue:
        resolved = self.resolver.resolve(block, path)
        for at, name in resolved.missing.items():
            self.problems.append(self._not_set(at, name))
        self.missing |= resolved.missing
        return resolved.value

    def _not_set(self, path: KeyPath, name: str) -> Problem:
        remedy = f"Set {name} in the environment or in .env, or write a default: ${{{name}:-...}}."
        if path[0] == "sources":
            remedy += " A source with `optional: true` is skipped instead."
        elif path[0] == "profiles" and len(path) > DESTINATION_DEPTH and path[2] not in PROFILE_KEYS:
            remedy += " A destination with `optional: true` is left out instead."
        return self.document.problem(path, f"the environment variable {name} {NOT_SET}", remedy)

    def _profile(self, name: str, block: YamlValue, path: KeyPath) -> YamlValue:
        if name == self.profile:
            if not isinstance(block, dict):
                return self._strict(block, path)
            return {key: self._part(key, part, (*path, key)) for key, part in block.items()}
        resolved = self.resolver.resolve(block, path, use_env=False)
        self.missing |= resolved.missing
        return resolved.value

    def _source(self, name: str, block: YamlValue, path: KeyPath) -> YamlValue:
        profiles = self.document.value.get("profiles")
        active = profiles.get(self.profile) if isinstance(profiles, dict) else None
        if isinstance(active, dict) and active.get("broker") == "mock":
            block = with_mock(block)
        replay = isinstance(active, dict) and active.get("market") == "replay"
        lenient = isinstance(block, dict) and block.get("optional") is True
        replayed = replay and isinstance(block, dict) and str(block.get("type")) in REPLAYED
        if not (lenient or replayed):
            return self._strict(block, path)
        resolved = self.resolver.resolve(block, path)
        self.missing |= resolved.missing
        if resolved.missing and not replayed:
            self.skipped[name] = self._unset(resolved)
        return resolved.value

    def _part(self, key: str, part: YamlValue, path: KeyPath) -> YamlValue:
        """Fill in a part of the active profile: an optional destination may lack variables, and is then left out."""
        if key in PROFILE_KEYS or not (isinstance(part, dict) and part.get("optional") is True):
            return self._strict(part, path)
        resolved = self.resolver.resolve(part, path)
        self.missing |= resolved.missing
        if resolved.missing:
            self.left_out[key] = self._unset(resolved)
        return resolved.value

    def _unset(self, resolved: Resolved) -> str:
        at, variable = next(iter(resolved.missing.items()))
        return f"{variable} is not set ({self.document.text.name}:{self.document.position(at).line})"

    def _blocks(self, kind: str, blocks: YamlValue, path: KeyPath) -> dict[str, Any]:
        found = {}
        for name, block in blocks.items() if isinstance(blocks, dict) else ():
            settings, problems = settings_of(kind, block, self.document, (*path, name), self.missing)
            self.problems += problems
            if settings is not None:
                found[name] = settings
        return found

    def _destinations(self, value: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
        """Check the destinations of every profile; return them by (profile, name)."""
        every: dict[tuple[str, str], Any] = {}
        profiles = value.get("profiles")
        for name, profile in profiles.items() if isinstance(profiles, dict) else ():
            if isinstance(profile, dict):
                blocks = {key: block for key, block in profile.items() if key not in PROFILE_KEYS}
                blocks = {key: block for key, block in blocks.items() if not self._misspelt(name, key, block)}
                found = self._blocks("destination", blocks, ("profiles", name))
                every |= {(name, key): settings for key, settings in found.items()}
        return every

    def _misspelt(self, profile: str, key: str, block: YamlValue) -> bool:
        """Whether a key that is no destination was meant to be one of the profile's own."""
        near = nearest(key, PROFILE_KEYS)
        if near is None or (isinstance(block, dict) and str(block.get("type")) in DESTINATION_TYPES):
            return False
        remedy = f"Did you mean {near!r}? Keys here: {choices(PROFILE_KEYS)}, and destinations by name."
        self.problems.append(
            self.document.problem(("profiles", profile, key), f"unknown key {key!r}", remedy, key=True)
        )
        return True

    def _offered(
        self, sources: Mapping[str, Any], value: Mapping[str, Any], assets: AssetLists
    ) -> dict[str, list[Resource]]:
        """Ask every source what it can extract."""
        offered: dict[str, list[Resource]] = {}
        for name, settings in sources.items():
            path: KeyPath = ("sources", name)
            wrong = check_asset_references(self.document, value["sources"][name], path, assets)
            self.problems += wrong
            if wrong:
                continue
            try:
                offered[name] = settings.resources_of(name, assets)
            except (TickhouseError, ValueError, KeyError, TypeError) as error:
                self.problems.append(self._refused(error, path))
        return typed_alike(offered)

    def _refused(self, error: Exception, path: KeyPath) -> Problem:
        """What a source's own settings say when they cannot be turned into resources."""
        if isinstance(error, UsageError):
            return self.document.problem(path, error.reason, error.remedy or "Fix this source.", key=True)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return self.document.problem(path, reason, "Check this source's settings.", key=True)


def wrong_webhook(address: str) -> tuple[str, str] | None:
    """Return why an address cannot be a webhook's, and what to do. Who knows it can write there: it is a secret."""
    try:
        host = urlsplit(address).hostname
    except ValueError:
        host = None
    if host is None or not WEBHOOK.match(address):
        remedy = "Set an http(s) address, such as ${SLACK_WEBHOOK}; an empty variable sends nothing."
        return "this is not the address of a webhook", remedy
    if address.startswith("http:") and host not in {"127.0.0.1", "localhost", "::1"}:
        return "http would show the webhook's address to the network", "Use https, or a relay on 127.0.0.1."
    return None


def with_mock(block: YamlValue) -> YamlValue:
    """Return a kafka source's block with the mock in place of its brokers, whatever they are; any other as it is."""
    if not isinstance(block, dict) or block.get("type") != "kafka":
        return block
    return {key: item for key, item in block.items() if key != "security"} | {"brokers": MOCK}
