"""Every error a user can meet. One base class; the exit code and the remedy travel with the error."""

from __future__ import annotations

from collections.abc import Sequence

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2


class TickhouseError(Exception):
    """Something a person has to know: what happened and what to do about it.

    `exit_code` 1 means that a retry may help, 2 that it cannot (the configuration or the usage is wrong).
    """

    exit_code = EXIT_FAILED

    def __init__(self, reason: str, remedy: str = "") -> None:
        """Keep the reason and the remedy apart, so that every surface can lay them out."""
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        """One message: the reason, then what to do."""
        return f"{self.reason}\n  {self.remedy}" if self.remedy else self.reason

    @property
    def line(self) -> str:
        """The same on one line, as logs and summaries have it."""
        reason = " ".join(self.reason.split())
        return f"{reason} — {' '.join(self.remedy.split())}" if self.remedy else reason


class UsageError(TickhouseError):
    """The command line or the configuration is wrong: do not retry."""

    exit_code = EXIT_USAGE


class SourceError(TickhouseError):
    """A source could not deliver. `terminal` says that asking again cannot help (401, 451, a bad symbol)."""

    def __init__(self, source: str, reason: str, remedy: str = "", *, terminal: bool = False) -> None:
        """Name the source in the reason, for every reader of a log."""
        super().__init__(f"{source}: {reason}", remedy)
        self.source = source
        self.terminal = terminal


class LakeError(TickhouseError):
    """The lake cannot be read or written, or a package in it is not what was landed."""


class LakeConflictError(LakeError):
    """Another run landed a package of the same source and table first: what this run extracted is stale."""


class DestinationError(TickhouseError):
    """A destination refused or lost a load. Nothing of the package stays in it; the next run catches up."""

    def __init__(self, destination: str, reason: str, remedy: str = "") -> None:
        """Name the destination in the reason."""
        super().__init__(f"{destination}: {reason}", remedy)
        self.destination = destination


class GoneError(DestinationError):
    """A destination's server cannot be reached, or was lost in mid-load: nothing more can be loaded now."""


class NotPublishedError(DestinationError):
    """Readers find nothing in a destination yet. `also` are the profiles that do have data."""

    def __init__(self, destination: str, profile: str = "", also: Sequence[str] = ()) -> None:
        """Without a profile, say what a destination knows; the command adds the profiles."""
        remedy = "Run a pipeline first: `engine run --all`."
        if also:
            remedy = (
                f"Profile {' and '.join(also)} has data: add `-p {also[0]}`, or export ENGINE_PROFILE={also[0]}. "
                f"For data in profile {profile}, run a pipeline first: `engine run --all -p {profile}`."
            )
        where = f" in profile {profile}" if profile else ""
        super().__init__(destination, f"nothing is published here yet{where}", remedy)


class BusyError(TickhouseError):
    """Another process holds the lock that this one needs."""
