"""The command that fills topics: produce."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import click

from engine.cli.errors import redact
from engine.cli.options import json_option, print_json, print_table, with_project
from engine.cli.signals import on_end

if TYPE_CHECKING:
    from engine.config.project import Project

SAID_EVERY_SECONDS = 5.0


@click.command()
@click.option("--rate", type=click.FloatRange(min=0), default=1_000.0, show_default=True, metavar="MESSAGES",
              help="Messages a second; 0: as fast as the brokers take them.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="End after this long.")
@click.option("--messages", type=click.IntRange(min=0), metavar="COUNT", help="End after this many.")
@click.option("--to", "target", metavar="SOURCE", help="Kafka source whose topics are filled, if there are several.")
@click.option("--from", "origin", metavar="SOURCE", help="Faker source that makes the rows, if there are several.")
@json_option
@with_project
def produce(
    project: Project,
    rate: float,
    seconds: float | None,
    messages: int | None,
    target: str | None,
    origin: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Stream simulated customers, companies and transactions into the topics, until the bounds or Ctrl-C.

    The first stream begins with all customers and companies. Rows are JSON, keyed by their id, and never repeat one:
    the next stream goes on where the last one ended.
    """
    from engine.produce import Bounds
    from engine.produce import produce as stream

    stop = threading.Event()
    on_end(stop.set)
    said = time.monotonic()

    def say(text: str) -> None:
        nonlocal said
        if time.monotonic() - said >= SAID_EVERY_SECONDS:
            said = time.monotonic()
            print(redact(f"  ... {text}"), file=sys.stderr, flush=True)

    done = stream(project, Bounds(rate, seconds, messages), target=target, origin=origin, stop=stop, say=say)
    if as_json:
        print_json(done.as_json())
        return
    for topic in done.created:
        click.echo(f"made the topic {topic}, as the brokers are set to make one")
    print_table("", ["topic", "messages acknowledged"], [[topic, f"{count:,}"] for topic, count in done.topics.items()])
    pace = done.messages / max(done.seconds, 0.001)
    click.echo(f"{done.messages:,} SIMULATED messages in {done.seconds:.1f} s ({pace:,.0f} a second)")


COMMANDS = (produce,)
