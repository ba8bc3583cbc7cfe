"""PostgreSQL's and libpq's messages, turned into one clear DestinationError. No DSN is ever part of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engine.errors import EXIT_USAGE, DestinationError, GoneError, NotPublishedError

if TYPE_CHECKING:
    import psycopg

AGAIN = "Run again once it is back: the destination catches up from its own cursor."


class UncertainError(Exception):
    """The connection was lost while a transaction was being committed."""


STATES = {
    "28P01": ("the password is wrong, or the user does not exist", "Correct user and password in the DSN's variable."),
    "28000": ("the server lets this user not in: {said}", "Check user, address and TLS against pg_hba.conf."),
    "3D000": ("the database does not exist", "Create it (CREATE DATABASE ...), or correct its name in the DSN."),
    "53300": ("the server has no connection left", "Close some, or raise max_connections; then run again."),
    "53100": (
        "no space left on the server's disk: {said}",
        "Free some space there and run again; nothing of this load stayed.",
    ),
    "53200": ("the server is out of memory: {said}", "Give it more, or less to do; then run again."),
    "25006": (
        "the server is read-only (a standby, or default_transaction_read_only)",
        "Name the primary server in the DSN, then run again.",
    ),
    "42501": (
        "this user may not write there: {said}",
        "GRANT CREATE ON DATABASE ... TO ...; it has to own schemas landing and timeseries and their tables.",
    ),
    "55P03": (
        "another session holds a table or row for longer than a minute",
        "See pg_stat_activity on the server; end that session or let it finish, then run again.",
    ),
    "2BP01": (
        "something of yours depends on what this load replaces: {said}",
        "Drop it there (DROP VIEW ...), run again, and make it anew.",
    ),
    "42P07": (
        "something of that name is there already, and Tickhouse has not made it: {said}",
        "Rename or drop it, then run again.",
    ),
    "P0001": (
        "a trigger of yours refuses what was landed: {said}",
        "Drop it there (DROP TRIGGER ...), or mend it; then run again.",
    ),
    "22021": (
        "a text holds a character that PostgreSQL does not store: {said}",
        "Such text is set aside when it is landed: was this lake written by another program?",
    ),
}
"""SQLSTATE: what is wrong (`{said}` is the server's own first line), and what to do."""
CONSTRAINT = "23"
"""The class of integrity violations: landing has no constraint of its own, and the keys of timeseries are upserted."""
A_CONSTRAINT = (
    "a constraint or an index of yours refuses what was landed: {said}",
    "Drop it there (ALTER TABLE ... DROP CONSTRAINT ..., DROP INDEX ...) and run again: landing keeps all that comes.",
)
ALTERED_UNDER_A_VIEW = "cannot alter type of a column used by"
"""How 0A000, feature not supported, is told for a view over a column that widens."""
NOTHING_THERE = {"42P01", "3F000"}
ENDED = {
    "57P01": "was shut down, or this session was ended there",
    "57P02": "crashed",
    "57P03": "is starting, stopping or recovering",
    "25P03": "ended this session: it stalled inside a transaction",
    "57P05": "ended this session: it was idle for too long",
}
UNREACHED = {
    "Connection refused": "nothing listens there",
    "could not translate host name": "the host name is not known",
    "Name or service not known": "the host name is not known",
    "timeout expired": "it does not answer in time",
    "timed out": "it does not answer in time",
    "No route to host": "there is no way to that host",
    "Network is unreachable": "there is no way to that host",
}
TLS = ("SSL", "certificate", "sslmode")


@contextmanager
def clear_errors(name: str, where: str) -> Iterator[None]:
    """Raise what PostgreSQL says inside the block as DestinationError. `where` names the server, without a secret."""
    import psycopg

    try:
        yield
    except UncertainError as error:
        raise GoneError(
            name,
            f"the connection to {where} was lost while a load was being committed: {_first_line(str(error))}",
            "Run again: whether it was committed is read from the destination's cursor; nothing is lost or doubled.",
        ) from None
    except psycopg.Error as error:
        raise explain(name, where, error) from (error if error.sqlstate else None)


def explain(name: str, where: str, error: psycopg.Error) -> DestinationError:
    """Return the DestinationError for what psycopg raised."""
    import psycopg

    said = _first_line(str(error))
    state = error.sqlstate or ""
    if state in NOTHING_THERE and "landing" in said:
        return NotPublishedError(name)
    if state == "2BP01" and error.diag.message_detail:  # which of theirs it is
        said = f"{said}: {_first_line(error.diag.message_detail)}"
    known = STATES.get(state) or (A_CONSTRAINT if state.startswith(CONSTRAINT) else None) or _from_words(said)
    if known:
        return DestinationError(name, f"{where}: {known[0].format(said=said)}", known[1])
    if state in ENDED:
        return GoneError(name, f"{where} {ENDED[state]}", AGAIN)
    if (not state or state.startswith("08")) and isinstance(error, psycopg.OperationalError):
        unreached = next((why for words, why in UNREACHED.items() if words in str(error)), None)
        if unreached:
            return GoneError(name, f"{where} cannot be reached: {unreached}", f"Start it, or correct the DSN. {AGAIN}")
        return GoneError(name, f"the connection to {where} was lost: {said}", AGAIN)
    return DestinationError(name, f"{where}: {said}", "Run again; `engine doctor` looks for what is wrong.")


def unreadable_dsn(name: str) -> DestinationError:
    """Return the error of a DSN that libpq cannot read, which no retry mends; libpq's own words would show it."""
    error = DestinationError(
        name,
        "its dsn cannot be read",
        "Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE; percent-encode @ : / in the password.",
    )
    error.exit_code = EXIT_USAGE
    return error


def place(given: dict[str, Any]) -> str:
    """Return where a DSN leads, as an error may name it: no user, no password."""
    host = given.get("host") or given.get("hostaddr") or "the local socket"
    return f"PostgreSQL at {host}:{given.get('port') or 5432}/{given.get('dbname') or given.get('user') or ''}"


def _from_words(said: str) -> tuple[str, str] | None:
    """Refusals at connecting carry no SQLSTATE in older libpq: only words."""
    words = {
        "password authentication failed": "28P01",
        "no password supplied": "28P01",
        "no pg_hba.conf entry": "28000",
        "too many clients": "53300",
        "too many connections": "53300",
        "remaining connection slots": "53300",
    }
    if ALTERED_UNDER_A_VIEW in said:
        return (
            f"a view of yours stands on a column whose type widens: {said}",
            "Drop the view (DROP VIEW ...), run again, and make it anew.",
        )
    for phrase, state in words.items():
        if phrase in said:
            return STATES[state]
    if "database" in said and "does not exist" in said:
        return STATES["3D000"]
    if any(word in said for word in TLS) and "closed the connection" not in said:
        return f"no TLS as the DSN asks for it: {said}", "Check sslmode and sslrootcert in the DSN against the server."
    return None


def _first_line(message: str) -> str:
    """Return the last of libpq's lines that says something: it tries each address and says why each failed."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    line = next((line for line in lines if "FATAL" in line or "failed:" in line), lines[0] if lines else "no reason")
    return line.rsplit("FATAL:", 1)[-1].strip()[:300]
