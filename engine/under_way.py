"""The run that is under way: what it has done so far is noted in the ledger, so that it counts if the run is killed.

What an API was asked is spent whether or not the run ends. It is noted once a second, by a thread of its own: a kill
forgets what the last second did, and no request waits for the disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.errors import TickhouseError
from engine.redact import Redactor
from engine.report import DestinationReport, ResourceReport, RunReport, TransformReport

if TYPE_CHECKING:
    from engine.ledger import Ledger

log = logging.getLogger(__name__)
EVERY_SECONDS = 1.0


class UnderWay:
    """A run's entry in the ledger. Threads that extract and load side by side share it."""

    def __init__(self, ledger: Ledger, report: RunReport, redactor: Redactor) -> None:
        """Note what becomes of `report`."""
        self._ledger = ledger
        self._report = report
        self._redactor = redactor
        self._resources: list[ResourceReport] = []
        self._ended: set[int] = set()
        self._loaded: dict[str, tuple[DestinationReport, TransformReport | None]] = {}
        self._moved = threading.Event()

    @property
    def run_id(self) -> str:
        """The run's id, as every landed row of it has it."""
        return self._report.run_id

    @contextmanager
    def resource(self, report: ResourceReport) -> Iterator[None]:
        """Have a resource that is extracted in this block noted; of one that did not end, only what it asked."""
        self._resources.append(report)
        yield
        self._ended.add(id(report))
        self.moved()

    def loaded(self, loaded: DestinationReport, transformed: TransformReport | None) -> None:
        """Have a destination's catch-up noted, with all earlier attempts of this run."""
        self._loaded[loaded.name] = loaded, transformed
        self.moved()

    def moved(self) -> None:
        """Have noted within a second how it stands."""
        self._moved.set()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """While the block runs, note how it stands, once a second where that has changed."""
        ended = threading.Event()

        def note() -> None:
            while not ended.wait(EVERY_SECONDS):
                if self._moved.is_set():
                    self._moved.clear()  # before one looks: what moves meanwhile is noted the next time
                    self._note()

        thread = threading.Thread(target=note, name="note the run", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _note(self) -> None:
        try:
            self._ledger.note(self.run_id, self._stands())
        except (TickhouseError, OSError):  # a full disk, say: the end of the run tells of it
            log.debug("how the run stands was not noted", exc_info=True)

    def end(self, status: str, failure: str) -> None:
        """Note the end of a run that leaves in mid-step. Raises TickhouseError."""
        self._ledger.finish(self.run_id, datetime.now(UTC), status, self._stands(failure))

    def _stands(self, *failures: str) -> dict[str, Any]:
        resources = [one if id(one) in self._ended else _asked(one) for one in tuple(self._resources)]
        loaded = tuple(self._loaded.values())
        destinations, transforms = [one for one, _ in loaded], [one for _, one in loaded if one is not None]
        so_far = replace(self._report, resources=resources, destinations=destinations, transforms=transforms)
        return dict(self._redactor.tree({**so_far.as_json(), "failures": list(failures)}))


def _asked(report: ResourceReport) -> ResourceReport:
    """Of a resource that is being extracted: what its API was asked. No row of it is landed."""
    asked = ResourceReport(report.source, report.resource, report.table, simulated=report.simulated)
    return replace(asked, requests=report.requests, retries=report.retries, waited_seconds=report.waited_seconds)
