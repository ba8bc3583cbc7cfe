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
from engine.logs import current
from engine.redact import Redactor, visible
from engine.run import SOURCES_AT_ONCE, Runner
from engine.schedules.failures_told import without_tracebacks_of_states
from engine.schedules.flow_file import pipelines_file
from engine.schedules.overdue import cover_overdue
from engine.schedules.page import keep_page, outcome_line
from engine.schedules.parent import when_orphaned
from engine.schedules.tasks import RunLog, Tasks
from engine.schedules.waiting import AGAIN_SECONDS, come_again
from engine.words import counted

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun
    from prefect.states import State

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
    log = get_run_logger()
    try:
        project = load_project(pipelines_file(), profile=profile)
    except TickhouseError as error:
        log.error(str(error))
        return _refused(error, str)
    redact = Redactor(project.secrets)
    if (lines := current()) is not None:
        lines.redact = redact
    block = project.file.pipelines.get(pipeline)
    tasks = Tasks(block or Pipeline(extract=["unknown"]), redact)
    runner = Runner(project, RunLog(log, redact), steps=tasks)
    when_orphaned(runner)
    run = _scheduled()
    if run is not None and run.deployment_id is not None:
        covered = cover_overdue(run.deployment_id, run.id)
        if covered:
            log.info("in place of %s that came due too: it takes all that has come meanwhile", counted(covered, "run"))
    try:
        report = _attempts(runner, pipeline, tasks, log.warning)
    except TickhouseError as error:
        if isinstance(error, BusyError) and run is not None and not tasks.begun:
            why = redact(visible(error.reason))
            log.info("%s: this run waits, and looks again in %d s", why, AGAIN_SECONDS)
            come_again(run, why)
        log.error(redact(visible(error.line)))
        return _refused(error, redact)
    except BaseException:  # a cancellation or a timeout: what is under way ends at its next page
        runner.stop.set()
        runner.end_soon()
        raise
    keep_page(project, report, redact)
    line = redact(visible(outcome_line(report)))[:MESSAGE_LENGTH]
    if runner.stop.is_set():
        return Crashed(message=line)
    return Completed(message=line) if report.exit_code == EXIT_OK else Failed(message=line)


def _scheduled() -> FlowRun | None:
    """The run as the server knows it, if a deployment made it: then it can be started again later."""
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    return run if run is not None and run.deployment_id is not None else None


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


def _refused(error: TickhouseError, redact: Any) -> State[Any]:
    again = "do not retry" if error.exit_code == EXIT_USAGE else "a retry may help"
    return Failed(message=f"exit code {error.exit_code} ({again}): {redact(visible(error.line))}"[:MESSAGE_LENGTH])
