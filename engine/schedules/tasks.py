"""The engine's steps as Prefect's tasks: each is retried on its own, as the pipeline's block says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from engine.logs import SAID, current
from engine.progress import JsonProgress, Silent
from engine.redact import Redactor, visible
from engine.steps import Kind, Outcome

if TYPE_CHECKING:
    from prefect.states import State

    from engine.config.models import Pipeline
    from engine.progress import Progress

T = TypeVar("T")
MESSAGE_LENGTH = 500


class Tasks:
    """Carries out a run's steps as tasks of the flow that calls it. `begun` says whether any has been."""

    def __init__(self, block: Pipeline, redact: Redactor) -> None:
        """Take retries and their delay from the pipeline's block."""
        self.retries = block.retries
        self.delay_seconds = block.retry_delay_seconds
        self.begun = False
        self._redact = redact

    def side_by_side(
        self,
        kind: Kind,
        names: Sequence[str],
        attempt: Callable[[str], Outcome[T]],
        *,
        at_once: int,  # noqa: ARG002
    ) -> list[T]:
        """Submit a task for each step; a task fails, and is tried again, while its outcome says that this may help."""
        self.begun = True
        outcomes: dict[str, Outcome[T]] = {}
        futures = [self._task(kind, name, attempt, outcomes).submit() for name in names]
        for future in futures:
            future.wait()
        for name, future in zip(names, futures, strict=True):
            if name not in outcomes:  # not even begun: Prefect's own failure
                future.result()
        return [outcomes[name].result for name in names]

    def _task(
        self, kind: Kind, name: str, attempt: Callable[[str], Outcome[T]], outcomes: dict[str, Outcome[T]]
    ) -> Task[[], State[Any]]:
        def step() -> State[Any]:
            outcome = outcomes[name] = attempt(name)
            if not outcome.failure:
                return Completed(message="done")
            return Failed(message=self._redact(visible(outcome.failure))[:MESSAGE_LENGTH])

        return Task(
            step,
            name=f"{kind} {name}",
            task_run_name=f"{kind} {name}",
            retries=self.retries,
            retry_delay_seconds=self.delay_seconds,
            retry_condition_fn=lambda *_: name not in outcomes or outcomes[name].retry,
            cache_policy=NO_CACHE,
            persist_result=False,
        )


class RunLog:
    """A run's progress as lines of its log in Prefect; secrets hidden.

    Where the process talks JSON, it writes the objects that `engine run` writes, and Prefect's console skips these.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[Any], redact: Redactor) -> None:
        """Write to the flow run's log, from whatever thread."""
        self._log = log
        self._redact = redact
        self._run = ""
        lines = current()
        self._lines: Progress = Silent() if lines is None else JsonProgress(lines)

    def of_run(self, run_id: str, pipeline: str) -> None:
        """End every line from here on with the run's id."""
        self._run = f"  [run {run_id}]"
        self._lines.of_run(run_id, pipeline)

    def begin(self, step: str) -> None:
        """Log nothing: the task's own state shows it."""
        self._lines.begin(step)

    def update(self, step: str, text: str) -> None:
        """Log nothing: a log keeps what was said last, and this is passing."""
        self._lines.update(step, text)

    def say(self, step: str, text: str) -> None:
        """Log why a step does not go on."""
        self._lines.say(step, text)
        self._tell(logging.INFO, step, text)

    def end(self, step: str, text: str, *, ok: bool = True, **figures: float) -> None:
        """Log how a step ended."""
        self._lines.end(step, text, ok=ok, **figures)
        self._tell(logging.INFO if ok else logging.ERROR, step, text)

    def _tell(self, level: int, step: str, text: str) -> None:
        self._log.log(level, self._redact(visible(f"{step}: {text}{self._run}")), extra=SAID)
