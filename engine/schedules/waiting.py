"""A run that finds its pipeline busy (a backfill, a run by hand) waits as one that finds the slot taken.

After a short wait in its place it gives its slot and its process back and comes again a little later, in the state that
Prefect has for such a wait: it is no failure, its time begins anew, and what comes due meanwhile takes its place.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from prefect.client.orchestration import get_client
from prefect.exceptions import Pause
from prefect.states import AwaitingConcurrencySlot
from prefect.utilities.engine import propose_state_sync

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

IN_PLACE_SECONDS = 60.0
"""A run by hand is over soon; a process takes seconds to start."""
AGAIN_SECONDS = 30
SHARE = 4
"""A run that has little time spends no more than this part of it on waiting."""


def in_place(timeout_seconds: float) -> float:
    """Return how long a run that may take so long waits before it gives its place back."""
    return min(IN_PLACE_SECONDS, timeout_seconds / SHARE)


def come_again(run: FlowRun, why: str) -> NoReturn:
    """Hand the run back to the server, to be started again; end this attempt. Works in the flow's thread only."""
    at = datetime.now(UTC) + timedelta(seconds=AGAIN_SECONDS)
    with get_client(sync_client=True) as client:
        state = propose_state_sync(client, AwaitingConcurrencySlot(scheduled_time=at, message=why), flow_run_id=run.id)
    raise Pause(state=state)  # how a flow leaves its process without an end
