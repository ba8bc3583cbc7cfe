"""Run a pipeline again and again in one process, which stays warm: imports are paid once.

A run that takes longer than its interval is followed by one that catches up with all that has come meanwhile, never by
a queue of the times it missed. Two are never at once: the pipeline's lock refuses the second. An edit of the file is
taken by the next run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.errors import TickhouseError, UsageError
from engine.schedule import parse_schedule
from engine.schedules.flow_file import modified

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.run import Runner
    from engine.schedule import Schedule

log = logging.getLogger(__name__)


def repeated(
    runner: Runner,
    pipeline: str,
    once: Callable[[], object],
    say: Callable[[str], None],
    load: Callable[[], Project],
) -> None:
    """Call `once` now and at every time that the pipeline's schedule gives, until the runner is stopped.

    What one run cannot do is said, and the next one tries again. `load` reads the file anew when it was edited; while
    it cannot be read, that is said and the last good one is run. Raises UsageError: there is no such pipeline, or it
    has no schedule.
    """
    cron, read = _schedule(runner.project, pipeline), modified(runner.project.path)
    began = datetime.now(UTC)
    while not runner.stop.is_set():
        _attempt(once, pipeline, say)
        due = cron.next_runs(began, runner.project.file.timezone)[0]
        began = datetime.now(UTC)
        if runner.stop.is_set():
            break
        if began >= due:
            say("that took longer than its interval: the next run starts now, and takes all that has come meanwhile")
        else:
            say(f"next run at {due:%H:%M:%S %Z}")
            runner.stop.wait((due - began).total_seconds())
            began = max(due.astimezone(UTC), datetime.now(UTC))
        edited = modified(runner.project.path)
        if edited != read and not runner.stop.is_set():
            try:
                project = load()
                changed = _schedule(project, pipeline)
                runner.follow(project)
            except TickhouseError as error:
                say(f"the edited {runner.project.path.name} is not followed: {error}")
                continue
            cron, read = changed, edited
            say(f"{runner.project.path.name} was edited: from here on as it says now")


def _schedule(project: Project, pipeline: str) -> Schedule:
    block = project.file.pipelines.get(pipeline)
    if block is None:
        raise UsageError(
            f"there is no pipeline {pipeline} in {project.path.name}", f"It has {', '.join(project.file.pipelines)}."
        )
    if not block.schedule:
        raise UsageError(
            f"{pipeline} has no schedule to repeat it by",
            'Give it one in pipelines.yaml, such as schedule: "*/5 * * * *".',
        )
    return parse_schedule(block.schedule)


def _attempt(once: Callable[[], object], pipeline: str, say: Callable[[str], None]) -> None:
    try:
        once()
    except UsageError:
        raise
    except TickhouseError as error:
        say(f"not done: {error}")
    except Exception as error:  # a full disk, say: whatever it is, the next run finds it mended or says it again
        log.info("a repeated run of %s", pipeline, exc_info=True)
        first = str(error).partition("\n")[0]
        say(f"not done: unexpected {type(error).__name__}: {first}")
