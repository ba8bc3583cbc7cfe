"""Automations of the server that end runs which nobody runs any more: a worker that died or lost the network.

A run sends a heartbeat (engine/schedules/settings.py). One that falls silent, or that was handed to a worker and never
begins, is marked as crashed: its slot is free, and it is not shown as running for ever.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events import AutomationCore, EventTrigger, Posture
from prefect.events.actions import ChangeFlowRunState

from engine.schedules.deployments import TAG

SILENT = timedelta(seconds=120)
"""Four heartbeats. A server whose SQLite is busy ("database is locked") tries each four times before it drops it, and
takes no run for crashed that has ended: no setting of Prefect's does more (a longer wait for the lock is in vain where
another transaction has written since this one read).
"""
NOT_BEGUN = timedelta(seconds=600)
FORM = "form 1"
"""Counts up with any change of what an automation is made of, so that servers take the new one."""


def ensure_watchdogs(client: SyncPrefectClient) -> None:
    """Make the automations, or bring them up to date.

    One that is as it should be is left alone: with an update the server forgets which runs it watches.
    """
    for automation in watchdogs():
        found = client.read_automations_by_name(automation.name)
        if not found:
            client.create_automation(automation)
        elif found[0].description != automation.description:
            client.update_automation(found[0].id, automation)


def watchdogs() -> list[AutomationCore]:
    """One for runs that fall silent, one for runs that never begin."""
    return [
        _unless(
            f"{TAG}: a run that is silent has crashed",
            {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"},
            SILENT,
            f"no heartbeat for {SILENT.seconds} s: its process is gone, or cannot reach this server",
        ),
        _unless(
            f"{TAG}: a run that does not begin has crashed",
            {"prefect.flow-run.Pending"},
            NOT_BEGUN,
            f"handed to a worker and not begun within {NOT_BEGUN.seconds} s",
        ),
    ]


def _unless(name: str, after: set[str], within: timedelta, why: str) -> AutomationCore:
    """Crash a run of which, after one of these events, nothing is heard; the description says what it is made of."""
    made_of = f"after {', '.join(sorted(after))} within {within.total_seconds():.0f} s, tag {TAG}, {FORM}"
    return AutomationCore(
        name=name,
        description=f"Made by Tickhouse: {made_of}.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"},
            after=after,
            expect={"prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=why)],
    )
