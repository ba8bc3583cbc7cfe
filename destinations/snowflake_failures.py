"""Snowflake's and its connector's errors, turned into one clear DestinationError. No secret is ever part of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.errors import DestinationError, GoneError, NotPublishedError

if TYPE_CHECKING:
    from snowflake.connector import errors

AGAIN = "Run again once it is back: the destination catches up from its own cursor."


class UncertainError(Exception):
    """No answer came to a transaction's COMMIT."""


KNOWN = {
    250001: ("it refuses this login: {said}", "Check account, user and key (or password) in pipelines.yaml."),
    390100: ("user or password is wrong", "Correct them in the variables that pipelines.yaml names."),
    390144: (
        "the key is not this user's",
        "Give the user its public key: ALTER USER ... SET RSA_PUBLIC_KEY = '...' (docs/snowflake.md).",
    ),
    390189: ("the role does not exist, or is not granted to this user", "Correct `role:`, or GRANT ROLE ... TO USER."),
    390201: (
        "the warehouse does not exist, or this role may not use it",
        "Correct `warehouse:`, or GRANT USAGE on it.",
    ),
    606: (
        "no warehouse runs for this session",
        "Set `warehouse:`, GRANT USAGE, OPERATE on it to the role, and ALTER WAREHOUSE ... SET AUTO_RESUME = TRUE.",
    ),
    90073: ("the warehouse cannot be resumed: {said}", "Raise the quota of its resource monitor, or wait for it."),
    630: ("a statement took longer than `statement_seconds`", "Raise it, or take a larger warehouse; then run again."),
    625: ("another session holds a table for longer than a minute", "Let it finish (SHOW LOCKS), then run again."),
    3001: (
        "this role may not do that: {said}",
        "Grant it what deploy/snowflake/setup.sql grants.",
    ),
    2043: (
        "it does not exist, or this role may not see it: {said}",
        "Run deploy/snowflake/setup.sql; check `database:`.",
    ),
    90105: (
        "there is no current database",
        "Run deploy/snowflake/setup.sql; check `database:` and the role's USAGE on it.",
    ),
}
"""Snowflake's number: what is wrong (`{said}` is its own first line), and what to do."""
MISSING = 2003
NETWORK = {250003, 251001, 251012, 254007}


@contextmanager
def clear_errors(name: str, where: str) -> Iterator[None]:
    """Raise what Snowflake says inside the block as DestinationError. `where` names the account, without a secret."""
    from snowflake.connector import errors

    try:
        yield
    except UncertainError as error:
        raise GoneError(
            name,
            f"the connection to {where} was lost while a load was being committed: {_first_line(str(error))}",
            "Run again: whether it was committed is read from the destination's cursor; nothing is lost or doubled.",
        ) from None
    except errors.Error as error:
        raise explain(name, where, error) from None


def explain(name: str, where: str, error: errors.Error) -> DestinationError:
    """Return the DestinationError for what the connector raised."""
    said = _first_line(error.raw_msg or str(error))
    number = int(error.errno or 0)
    if number == MISSING and "landing" in said.lower():
        return NotPublishedError(name)
    if "404" in said and isinstance(error, _network()):
        return DestinationError(name, f"{where}: there is no such account", "Write `account:` as ORGANIZATION-ACCOUNT.")
    if is_unanswered(error):
        reason = f"{where} cannot be reached: {said}"
        return GoneError(name, reason, f"Check `account:`, `host:`, proxy and firewall. {AGAIN}")
    known = KNOWN.get(number)
    if known:
        return DestinationError(name, f"{where}: {known[0].format(said=said)}", known[1])
    return DestinationError(name, f"{where}: {said}", "Run again; `engine doctor` looks for what is wrong.")


def is_unanswered(error: errors.Error) -> bool:
    """Whether Snowflake could not be reached, or did not answer."""
    number = int(error.errno or 0)
    unknown = isinstance(error, _network()) and number not in KNOWN
    return number in NETWORK or unknown or "Could not connect" in _first_line(error.raw_msg or str(error))


def _network() -> tuple[type[errors.Error], ...]:
    from snowflake.connector import errors

    return errors.OperationalError, errors.InterfaceError, errors.HttpError


def _first_line(message: str) -> str:
    """Return the first line that says something: Snowflake heads many with what kind of error it is."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    said = next((line for line in lines if not line.endswith("error:")), lines[0] if lines else "no reason")
    return said[:300]
