"""What a run did, by resource, destination and warehouse: the summary, `engine status` and --json all read this."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from engine.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE

ResourceStatus = Literal["landed", "unchanged", "failed"]
RunStatus = Literal["ok", "partial", "failed"]
STOPPED = "the run was stopped"
SOUGHT_AND_FOUND = re.compile(r"\A\S+/\S* | \((?:once|\d+ times) within [^)]*\)\Z")
"""What tells apart two failures for one cause: the address that was asked, and how often within what time."""


@dataclass(slots=True)
class ResourceReport:
    """One extraction. `bytes` are those of the package's files, `seconds` from first request to commit."""

    source: str
    resource: str
    table: str
    status: ResourceStatus = "unchanged"
    rows: int = 0
    quarantined: int = 0
    bytes: int = 0
    seconds: float = 0.0
    waited_seconds: float = 0.0
    requests: int = 0
    """What the API was asked, tries included; `retries` are those that asked the same once more."""
    retries: int = 0
    load_id: str | None = None
    simulated: bool = False
    error: str | None = None
    """Why it failed; of a landed backfill window: which of its assets are missing."""
    remedy: str | None = None
    retry: bool = True
    """Of a failed one: whether asking again may help. A key that is refused has to be mended first."""
    set_aside: dict[str, int] = field(default_factory=dict)
    """Why rows are in quarantine: reason -> count."""
    notices: list[str] = field(default_factory=list)
    lag: dict[str, int] = field(default_factory=dict)
    """Of a topic: messages that are not landed yet, by partition."""

    def after(self, earlier: ResourceReport | None) -> ResourceReport:
        """This attempt together with what an earlier one of the same run, which failed, had asked and waited for."""
        if earlier is None:
            return self
        return replace(
            self,
            requests=self.requests + earlier.requests,
            retries=self.retries + earlier.retries,
            seconds=round(self.seconds + earlier.seconds, 3),
            waited_seconds=self.waited_seconds + earlier.waited_seconds,
        )


@dataclass(slots=True)
class DestinationReport:
    """One destination's catch-up."""

    name: str
    status: Literal["loaded", "unchanged", "failed"] = "unchanged"
    packages: int = 0
    rows: int = 0
    quarantined: int = 0
    bytes: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    retry: bool = True
    """Of a failed one: whether another attempt may help."""
    notes: list[str] = field(default_factory=list)
    """What a person should know of it, though nothing failed."""

    def after(self, earlier: DestinationReport) -> DestinationReport:
        """This attempt together with what an earlier one of the same run had loaded before it failed."""
        status = "loaded" if self.status == "unchanged" and earlier.packages else self.status
        return replace(
            self,
            status=status,
            packages=self.packages + earlier.packages,
            rows=self.rows + earlier.rows,
            quarantined=self.quarantined + earlier.quarantined,
            bytes=self.bytes + earlier.bytes,
            seconds=round(self.seconds + earlier.seconds, 3),
        )


@dataclass(slots=True)
class TransformReport:
    """One warehouse's model run."""

    warehouse: str
    status: Literal["built", "unchanged", "failed", "off"] = "unchanged"
    models: int = 0
    seconds: float = 0.0
    error: str | None = None
    remedy: str | None = None
    retry: bool = True
    """Of a failed one: whether another run may help. Model files that cannot be read have to be mended first."""
    warnings: list[str] = field(default_factory=list)
    """Audits that found something and stopped nothing."""


@dataclass(slots=True)
class RunReport:
    """A whole run of one pipeline. Times are UTC, ISO 8601."""

    run_id: str
    pipeline: str
    profile: str
    started_at: str
    ended_at: str = ""
    simulated: bool = False
    backfill: str | None = None
    """The past range it was asked for, FROM/TO; None: it brings what is new."""
    resources: list[ResourceReport] = field(default_factory=list)
    destinations: list[DestinationReport] = field(default_factory=list)
    transforms: list[TransformReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """One line for each thing that failed."""
        return self._failures([told_line(r.error, r.remedy) for r in self._failed])

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop, and did not simply fail."""
        return any(error.startswith(STOPPED) for error in self.errors)

    @property
    def exit_code(self) -> int:
        """What the command that ran it ends with: 2 where all that failed is configuration that no retry mends."""
        if not self.failures:
            return EXIT_OK
        parts: list[DestinationReport | TransformReport] = [*self.destinations, *self.transforms]
        broken = [part for part in parts if part.status == "failed" and not part.retry]
        return EXIT_USAGE if len(self.failures) == len(broken) else EXIT_FAILED

    @property
    def told_failures(self) -> list[str]:
        """`failures` for a person: resources of one source that failed for one cause share a line."""
        alike: dict[tuple[str, str, str | None], list[ResourceReport]] = {}
        for r in self._failed:
            if r.error == STOPPED:  # the run's own line says so
                continue
            cause = SOUGHT_AND_FOUND.sub("", (r.error or "").removeprefix(f"{r.source}: "))
            alike.setdefault((r.source, cause, r.remedy), []).append(r)
        lines = []
        for first, *others in alike.values():
            also = ", ".join(dict.fromkeys(r.resource for r in others if r.resource != first.resource))
            lines.append(told_line(f"{first.error or 'failed'} (also: {also})" if also else first.error, first.remedy))
        return self._failures(lines)

    @property
    def told_notices(self) -> list[str]:
        """Notes, and what resources that landed could not deliver; what else a failed one met is in its failure."""
        met = (notice for r in self.resources if r.status != "failed" for notice in r.notices)
        told = (f"{d.name}: {note}" for d in self.destinations for note in d.notes)
        return list(dict.fromkeys([*self.notes, *met, *told]))

    @property
    def _failed(self) -> list[ResourceReport]:
        return [r for r in self.resources if r.status == "failed" or r.error]

    def _failures(self, of_resources: list[str]) -> list[str]:
        lines = [*self.errors, *of_resources]
        lines += [error for d in self.destinations for error in d.errors]
        lines += [told_line(f"{t.warehouse}: {t.error}", t.remedy) for t in self.transforms if t.status == "failed"]
        return list(dict.fromkeys(lines))

    @property
    def status(self) -> RunStatus:
        """ok: all of it; partial: what succeeded is landed and loaded; failed: nothing succeeded."""
        if not self.failures:
            return "ok"
        worked = any(r.status != "failed" for r in self.resources) or any(
            d.status == "loaded" for d in self.destinations
        )
        return "partial" if worked else "failed"

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "status": self.status, "failures": self.failures}


def told_line(error: str | None, remedy: str | None) -> str:
    """Return a failure in one line: what happened, then what to do."""
    text = " ".join((error or "failed").split())
    return f"{text} — {' '.join(remedy.split())}" if remedy else text
