"""How an error reaches a person: on standard error, without a traceback, with the exit code an orchestrator reads."""

from __future__ import annotations

import sys
from typing import Any

import click

from engine.errors import EXIT_FAILED, EXIT_USAGE, TickhouseError
from engine.logs import JsonLog, current
from engine.redact import Redactor, visible

_redactor = Redactor(())


def hide(secrets: frozenset[str]) -> Redactor:
    """Hide these values in everything that is printed from now on."""
    global _redactor  # noqa: PLW0603 - one process, one command, one set of secrets
    _redactor = Redactor(secrets)
    return _redactor


def redact(text: str) -> str:
    """Return the text as it may be printed."""
    return _redactor(text)


def redact_tree(value: Any) -> Any:
    """Return a JSON value whose texts may be printed; its shape and numbers stay."""
    return _redactor.tree(value)


def report_error(error: BaseException) -> int:
    """Print one clear error and return the exit code."""
    if (log := current()) is not None:
        return _log_error(log, error)
    if isinstance(error, click.ClickException):
        error.show()
        return EXIT_USAGE
    if isinstance(error, TickhouseError):
        print(redact(_escape(str(error))), file=sys.stderr)
        return error.exit_code
    if isinstance(error, OSError) and error.filename:
        print(redact(_escape(f"{error.filename}: {error.strerror or error}")), file=sys.stderr)
        print(
            "  Check this path and its rights, or name another folder with `data:` of the profile in pipelines.yaml.",
            file=sys.stderr,
        )
        return EXIT_FAILED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_FAILED
    print(redact(_escape(f"unexpected {type(error).__name__}: {error}")[:2000]), file=sys.stderr)
    print("  Run the same command with --debug for the whole story.", file=sys.stderr)
    return EXIT_FAILED


def _log_error(log: JsonLog, error: BaseException) -> int:
    """Write the error as one JSON line and return the exit code."""
    if isinstance(error, TickhouseError):
        log.refuse(error)
        return error.exit_code
    if isinstance(error, click.ClickException):
        code, text = EXIT_USAGE, error.format_message()
    elif isinstance(error, OSError) and error.filename:
        code, text = EXIT_FAILED, f"{error.filename}: {error.strerror or error}"
    else:
        code, text = EXIT_FAILED, f"unexpected {type(error).__name__}: {error}"[:2000]
    log.write(text, level="error", event="error", exit_code=code)
    return code


def _escape(text: str) -> str:
    """Show control characters instead of obeying them; the lines of the message stay lines."""
    return "\n".join(visible(line) for line in text.replace("\t", "    ").split("\n"))
