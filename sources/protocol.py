"""The contract between a source and the engine.

A source's settings model (pydantic, in its settings.py) has one method:

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]

It must be light: `engine validate`, `plan` and `ls` call it. The dlt resource is built only by `Resource.build`,
inside a run. A dlt resource yields pages: lists of dicts (raw values: text, Decimal, int, bool, None, nested; never
a float for a number that came as text or JSON) or Arrow tables / record batches, with the table's column names.
The engine types them (engine/conform), stamps lineage and lands them. What cannot even be read is yielded as `SetAside`
and goes to the quarantine of the same package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from dlt.extract import DltResource


@dataclass(frozen=True, slots=True)
class Asset:
    """One crypto currency or stock. `symbols` maps a source's column in the seed file to the symbol there."""

    symbol: str
    asset_type: str
    name: str = ""
    category: str = ""
    symbols: Mapping[str, str] = field(default_factory=dict, hash=False)

    def at(self, column: str) -> str:
        """Return what `assets.LIST.COLUMN` stands for: a source's symbol, else a field of ASSET_FIELDS; '' if none."""
        if column in self.symbols:
            return self.symbols[column]
        return str(getattr(self, column)) if column in ASSET_FIELDS else ""


ASSET_FIELDS = ("symbol", "name", "category", "asset_type")
"""What every asset has, beside its symbols at the sources."""

AssetLists = Mapping[str, Sequence[Asset]]
"""The asset lists of pipelines.yaml, resolved: {"crypto": [...], "stocks": [...]}."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What one run asks of an API. `weight` is in the API's own unit (1 a call where it has none)."""

    calls: int
    weight: int
    per_minute: int | None = None
    per_month: int | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open range of UTC instants that a backfill asks for."""

    start: datetime
    end: datetime


class Notices(Protocol):
    """Where a source reports what it could not deliver while the rest goes on (a bad symbol, a skipped asset)."""

    def __call__(self, message: str, *, item: str | None = None) -> None:
        """Keep one line for the summary; `item` names the symbol, page or file concerned."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """What a source could not read as rows: (reason, beginning of the value as text, what is known of it) each."""

    rows: Sequence[tuple[str, str | None, Mapping[str, Any]]]


def _not_counted(_item: str) -> None:
    """Placeholder where nobody counts."""


def _not_told(_again: bool) -> None:  # noqa: FBT001 - called by position
    """Placeholder where nobody counts requests."""


def _not_measured(_lag: Mapping[int, int]) -> None:
    """Placeholder where nobody asks how far behind a topic is."""


class Begun(Protocol):
    """Something that goes on beside a run. Its resource takes it, or it is given up when everything is extracted."""

    def close(self) -> None:
        """End it and free what it holds; nothing, if it was taken."""


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a run gives to a resource. State is dlt's: `dlt.current.resource_state()` and `dlt.sources.incremental`."""

    source: str
    assets: AssetLists
    now: datetime
    project_dir: Path
    data_dir: Path
    notice: Notices
    window: Window | None = None
    backfill: str | None = None
    """The backfill this window belongs to, "<from>/<to>": its progress is kept under that name."""
    replay_url: str | None = None
    """Base URL of the market replay. Where set, https://HOST/PATH is asked as {replay_url}/HOST/PATH."""
    missed: Callable[[str], None] = _not_counted
    """Called with the symbol of an asset that failed while the others went on, when asking again may bring its rows:
    a backfill's window without them is asked for again. The notice about it is given besides."""
    wait: Callable[[float, str], None] | None = None
    """Called with (seconds, why) before a rate limit or a retry makes the source wait."""
    asked: Callable[[bool], None] = _not_told
    """Called before each request that an API counts; True: the same request once more. From any thread."""
    lag: Callable[[Mapping[int, int]], None] = _not_measured
    """Called with the messages that each partition of a topic still has to be read, by partition."""
    begun: Begun | None = None
    """What the resource's `ahead` began in this run, if anything."""
    deployment: str = ""
    """Names this lake among others: two that share a consumer group can tell."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a source: the table it fills, what it costs, and how to build it."""

    name: str
    table: Table
    build: Callable[[SourceContext], DltResource]
    ahead: Callable[[SourceContext, Mapping[str, Any]], Begun | None] | None = None
    """Called with the resource's state before dlt is imported, which takes a while: begins what needs none of it, in a
    thread that imports nothing. `build` is given it in its context, and goes on from there."""
    calls: Calls | None = None
    assets: str | None = None
    """The asset list it follows, if any."""
    carries: Callable[[Asset], bool] | None = None
    """Whether this source carries the asset (an empty symbol says no)."""
    backfill: timedelta | None = None
    """The longest window that one backfill step may ask for; None: the resource has no past."""
    simulated: bool = False
    """Synthetic by nature (Faker): marked so wherever a person sees it."""
    one_by_one: bool = False
    """Its rows have an order (a topic's, a file's): each has its own load time, so that of a key the last counts."""
    rejected: Callable[[SourceContext, pa.Table], None] | None = None
    """Called with the quarantine's rows of each page before the package is committed."""
    landed: Callable[[SourceContext, dict[str, Any]], None] | None = None
    """Called with the resource's state once its package is committed."""
    behind: Callable[[str, Mapping[str, Any]], Mapping[int, tuple[int, int]]] | None = None
    """Of a topic: called with the source's name and the resource's state, gives for each partition the offset to land
    next and where its log ends now. Raises SourceError."""
