"""A Prefect server that somebody else runs: reached or not, its key, its version; every refusal in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import prefect
from packaging.version import Version
from prefect.client.base import ServerType
from prefect.client.orchestration import get_client
from prefect.deployments.runner import DeploymentApplyError
from prefect.exceptions import PrefectHTTPStatusError

from engine.errors import TickhouseError, UsageError
from engine.schedules.settings import shown

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

KEYS = "Set PREFECT_API_AUTH_STRING to its USER:PASSWORD, or PREFECT_API_KEY to the key of Prefect Cloud."
NO_KEY = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


@contextmanager
def asking(address: str) -> Iterator[SyncPrefectClient]:
    """Have a client of the server at `address` (of PREFECT_API_URL), which was found to answer and to be of a version.

    Raises TickhouseError where it cannot be reached or fails, UsageError where the key or the version is wrong.
    """
    with told(address), get_client(sync_client=True) as client:
        if client.server_type != ServerType.CLOUD:
            _check_version(client, shown(address))
        yield client


@contextmanager
def told(address: str) -> Iterator[None]:
    """Turn what a request to the server raises into one line."""
    where = f"Prefect's server {shown(address)}"
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise _refused(where, error) from error
    except (httpx.TransportError, OSError) as error:
        raise TickhouseError(
            f"{where} cannot be reached: {str(error) or type(error).__name__}",
            "Start it, or correct PREFECT_API_URL (http://HOST:4200/api).",
        ) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UsageError(f"{where}: {error}", "Correct PREFECT_API_URL (http://HOST:4200/api).") from error
    except DeploymentApplyError as error:
        raise TickhouseError(f"{where} did not take a deployment: {error}", "Its own log says more.") from error


def _refused(where: str, error: httpx.HTTPStatusError) -> TickhouseError:
    code = error.response.status_code
    if code in NO_KEY:
        return UsageError(f"{where} refuses the key ({code})", KEYS)
    if code == httpx.codes.NOT_FOUND and not isinstance(error, PrefectHTTPStatusError):
        return UsageError(f"{where} is no API of Prefect", "Correct PREFECT_API_URL (http://HOST:4200/api).")
    return TickhouseError(f"{where} answers {code}: {error.response.text[:300]}", "Its own log says more.")


def _check_version(client: SyncPrefectClient, where: str) -> None:
    """Refuse a server of another major version, and one that is older than what talks to it."""
    try:
        theirs = client.api_version()
    except PrefectHTTPStatusError as error:
        if error.response.status_code == httpx.codes.NOT_FOUND:
            theirs = ""
        else:
            raise
    except json.JSONDecodeError:
        theirs = ""
    if not isinstance(theirs, str) or not theirs:
        raise UsageError(f"{where} is no API of Prefect", "Correct PREFECT_API_URL (http://HOST:4200/api).")
    server, own = Version(theirs), Version(prefect.__version__)
    if server.major != own.major or server.release[:2] < own.release[:2]:
        raise UsageError(
            f"Prefect's server {where} is of version {theirs}, and this is {prefect.__version__}",
            f"Run a server of version {own.major}.{own.minor}, or a later {own.major}.",
        )
