"""The flow of a pipeline: the engine's run, its steps as Prefect's tasks, its report as an artifact.

A configuration error is final. What a retry may mend is tried again within the run: a source or a destination on its
own, and the whole where nothing could begin (the lake is away). Where another run has the pipeline, this one waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.context import FlowRunContext
from prefect.states import Completed, Crashed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from engine.config.load import load_project
from engine.config.models import Pipeline
from engine.errors import EXIT_OK, EXIT_USAGE, BusyError, TickhouseError
from engine.logs import NO_RUN, SAID, current
from engine.redact import Redactor, visible
from engine.run import SOURCES_AT_ONCE, Runner
from engine.schedules.failures_told import without_tracebacks_of_states
from engine.schedules.flow_file import pipelines_file
from engine.schedules.overdue import cover_overdue
from engine.schedules.page import keep_page, outcome_line
from engine.schedules.parent import when_orphaned
from engine.schedules.tasks import RunLog, Tasks
from engine.schedules.waiting import AGAIN_SECONDS, come_again, in_place
from engine.summary import log_end
from engine.words import counted

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun
    from prefect.states import State

    from engine.config.project import Project
    from engine.report import RunReport

MESSAGE_LENGTH = 500


def flow_of(pipeline: str) -> Flow[..., Any]:
    """Return the flow of one pipeline, with the options that the file gives it."""
    block = _block(pipeline)

    @flow(  # type: ignore[untyped-decorator]
        name=pipeline,
        description=f"Pipeline {pipeline} of pipelines.yaml: extract, land, load, transform.",
        timeout_seconds=block.timeout_seconds,
        task_runner=ThreadPoolTaskRunner(max_workers=SOURCES_AT_ONCE),
        persist_result=False,
    )
    def run(profile: str | None = None) -> State[Any]:
        return _run(pipeline, profile)

    return run


def _block(pipeline: str) -> Pipeline:
    """The pipeline's block; its defaults while the file cannot be read, which the run itself will say."""
    try:
        return load_project(pipelines_file()).file.pipelines[pipeline]
    except (TickhouseError, KeyError):
        return Pipeline(extract=["unknown"])


def _run(pipeline: str, profile: str | None) -> State[Any]:
    without_tracebacks_of_states()
    log, lines = get_run_logger(), current()
    if lines is not None:
        lines.run = {**NO_RUN, "pipeline": pipeline}
    try:
        project = load_project(pipelines_file(), profile=profile)
    except TickhouseError as error:
        return _refused(error, str, log)
    redact = Redactor(project.secrets)
    if lines is not None:
        lines.redact = redact
    return _run_project(project, pipeline, redact, log)


def _run_project(project: Project, pipeline: str, redact: Redactor, log: Any) -> State[Any]:
    block = project.file.pipelines.get(pipeline)
    block = block or Pipeline(extract=["unknown"])
    tasks = Tasks(block, redact)
    runner = Runner(project, RunLog(log, redact), wait_seconds=in_place(block.timeout_seconds), steps=tasks)
    when_orphaned(runner)
    run = _scheduled(log)
    try:
        report = _attempts(runner, pipeline, tasks, log.warning)
    except TickhouseError as error:
        if isinstance(error, BusyError) and run is not None and not tasks.begun:
            why = redact(visible(error.reason))
            log.info("%s: this run waits, and looks again in %d s", why, AGAIN_SECONDS)
            come_again(run, why)
        return _refused(error, redact, log)
    except BaseException:  # a cancellation or a timeout: what is under way ends at its next page
        runner.stop.set()
        runner.end_soon()
        raise
    if (lines := current()) is not None:
        log_end(lines, report)
    keep_page(project, report, redact)
    line = redact(visible(outcome_line(report)))[:MESSAGE_LENGTH]
    if runner.stop.is_set():
        return Crashed(message=line)
    return Completed(message=line) if report.exit_code == EXIT_OK else Failed(message=line)


def _scheduled(log: Any) -> FlowRun | None:
    """The run as the server knows it, in place of all that are due; None where no deployment made it."""
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    if run is None or run.deployment_id is None:
        return None
    covered = cover_overdue(run.deployment_id, run.id)
    if covered:
        log.info("in place of %s that came due too: it takes all that has come meanwhile", counted(covered, "run"))
    return run


def _attempts(runner: Runner, pipeline: str, tasks: Tasks, say: Any) -> RunReport:
    """Run; begin again where the run was refused before its first step and a retry may help."""
    for left in reversed(range(tasks.retries + 1)):
        try:
            return runner.run(pipeline)
        except TickhouseError as error:
            if error.exit_code == EXIT_USAGE or isinstance(error, BusyError) or not left or tasks.begun:
                raise
            say(f"not begun: {error.line}; again in {tasks.delay_seconds:.0f} s")
            time.sleep(tasks.delay_seconds)
    raise AssertionError


def _refused(error: TickhouseError, redact: Any, log: Any) -> State[Any]:
    if (lines := current()) is not None:
        lines.refuse(error)
    log.error(redact(str(error)), extra=SAID)
    again = "do not retry" if error.exit_code == EXIT_USAGE else "a retry may help"
    return Failed(message=f"exit code {error.exit_code} ({again}): {redact(visible(error.line))}"[:MESSAGE_LENGTH])
