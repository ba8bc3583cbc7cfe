"""The command line `engine`: thin commands over the engine's functions. Heavy parts are imported by the command run."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback

import click

from engine.cli import backup, inspect, lineage, metrics, models, run, schedules, setup, stream
from engine.cli.errors import redact, report_error


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tickhouse", prog_name="engine")
def cli() -> None:
    """Tickhouse: a market-data lakehouse from one YAML file, pipelines.yaml.

    Start with `engine demo` (no key, no network), then `engine plan` and `engine run --all`.
    """


GROUPS = (backup, inspect, lineage, metrics, models, run, schedules, setup, stream)
for command in [command for group in GROUPS for command in group.COMMANDS]:
    cli.add_command(command)


def _log_to_stderr() -> None:
    """With --debug: what the engine logs, tracebacks of handled failures included, secrets hidden."""

    class Hidden(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return redact(super().format(record))

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Hidden("%(asctime)s %(name)s %(levelname)s %(message)s"))
    for name in ("engine", "sources", "destinations"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.DEBUG)


GARBAGE = (50_000, 20, 50)
"""How many objects make the collector look at the young, and how often it then looks at the older and at all.

SQLMesh's models are hundreds of thousands of objects that live as long as the process; by Python's own numbers they are
looked at again and again.
"""
LIBRARIES = {"OPENBLAS_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""What libraries read from the environment when they are loaded, unless the user has set it.

NumPy's threads are for matrices, of which there are none here. Pydantic reads about every package that is installed, in
search of plugins. Arrow's other allocator gives memory back to the system after 10 ms, which zeroes it anew for a
file's next page; Arrow for ARM has no jemalloc, and would say so each time.
"""
if sys.platform == "linux" and os.uname().machine == "x86_64":
    LIBRARIES["ARROW_DEFAULT_MEMORY_POOL"] = "jemalloc"


def main() -> None:
    """Entry point of `engine`: exit codes 0 done, 1 failed (a retry may help), 2 configuration or usage."""
    os.umask(0o077)
    gc.set_threshold(*GARBAGE)
    for name, value in LIBRARIES.items():
        os.environ.setdefault(name, value)
    debug = "--debug" in sys.argv
    if debug:
        _log_to_stderr()
    try:
        # outside its standalone mode click does not raise Exit: it returns the code
        sys.exit(cli(standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except SystemExit:
        raise
    except (click.Abort, KeyboardInterrupt):
        print("stopped; what was landed stays, the next run goes on from there", file=sys.stderr)
        sys.exit(1)
    except BaseException as error:
        if debug and not isinstance(error, click.ClickException | SystemExit):
            print(redact("".join(traceback.format_exception(error))), file=sys.stderr)
        sys.exit(report_error(error))
    finally:
        gc.freeze()  # else the interpreter, on its way out, searches every module for garbage
